"""What the tests share: a few real pictures, a machine, and a way to run requests."""

from __future__ import annotations

import json
import os
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SCRIPTS))

import torch
from timm_worker import data, training
from timm_worker.model import Weights

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


def real(name: str) -> Path:
    """A file of the real data beside the repository. Without it tests skip, and fail in CI."""
    path = SCRIPTS.parents[1] / "shared" / "data" / name
    if not path.exists():
        reason = f"the real data is not here: {path}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def subset(source: Path, to: Path, each: int) -> None:
    """The first pictures of each class of an archive, as class folders."""
    archive = data.Archive(str(source))
    taken: dict[str, int] = {}
    with zipfile.ZipFile(to, "w") as z:
        for file, label in data.find(archive):
            if taken.get(label, 0) < each:
                taken[label] = taken.get(label, 0) + 1
                z.writestr(f"{label}/{Path(file).name}", archive.read(file))


def describe(folder: Path, archive: Path, name: str) -> None:
    """A description, as the planning program writes it."""
    found = data.find(data.Archive(str(archive)))
    classes = sorted({label for _, label in found})
    order = list(range(len(found)))
    random.Random(1).shuffle(order)
    fifth = len(found) // 5
    description = {
        "format": data.FORMAT,
        "version": data.VERSION,
        "name": name,
        "path": str(archive),
        "hash": "",
        "classes": classes,
        "symmetric": True,
        "labels": [classes.index(label) for _, label in found],
        "order": order,
        "validation": fifth,
        "test": fifth,
    }
    (folder / f"{training.file_name(name)}.json").write_text(json.dumps(description))


@pytest.fixture(scope="session")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that describes "flowers": eight pictures of each of five classes."""
    folder = tmp_path_factory.mktemp("data")
    subset(real("images/flowers5.zip"), folder / "flowers.zip", 8)
    describe(folder, folder / "flowers.zip", "flowers")
    return folder


@pytest.fixture(scope="session")
def machine(flowers: Path) -> training.Machine:
    """The CPU, with random weights and small pictures."""
    return training.Machine(weights=Weights(scratch=True), descriptions=flowers, image_size=32)


Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def run(machine: training.Machine) -> Run:
    """Run a request and return the messages."""

    def go(
        model: str = "tf_efficientnet_lite0", on: training.Machine = machine, **request: Any
    ) -> list[dict[str, Any]]:
        config = {"batch_size": 8, "opt": "adamw", "lr": 1e-3, **request.pop("config", {})}
        messages: list[dict[str, Any]] = []
        asked = {
            "trial": "t",
            "model": model,
            "config": config,
            "dataset": "flowers",
            "epochs": 1,
            "seed": 3,
            **request,
        }
        training.run(asked, on, training.Watcher(emit=messages.append))
        return messages

    return go
