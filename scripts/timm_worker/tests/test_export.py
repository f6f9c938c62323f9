"""What a trial has trained is the same network in every format."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from conftest import Run
from safetensors import safe_open
from timm_worker import data, export, training
from timm_worker.predict import confusion, predict
from timm_worker.trained import CheckpointError, load

CLASSES = ["b e", "dūzgė", "c", "d", "a"]

MODELS = ["tf_efficientnet_lite0", "mobilevit_xxs"]


def onnxruntime() -> Any:
    """The module. Without it tests skip, and fail in CI."""
    try:
        import onnxruntime
    except ImportError:
        if os.environ.get("CI") == "true":
            pytest.fail("onnxruntime is not installed")
        pytest.skip("onnxruntime is not installed")
    return onnxruntime


def trained(run: Run, folder: Path, model: str = MODELS[0], **config: Any) -> dict[str, Any]:
    """A request for the network of a trial of one epoch."""
    messages = run(model=model, checkpoint=str(folder), epochs=2, until=1, config=config)
    assert messages[-1]["end"] == "completed", messages
    return {"checkpoint": str(folder), "model": model, "classes": CLASSES, "epoch": 1, "image_size": 32}


@pytest.mark.parametrize("model", MODELS)
def test_every_format_gives_the_same_predictions(
    run: Run, machine: training.Machine, tmp_path: Path, model: str
) -> None:
    # What only training needs lies in the checkpoint too.
    extra = {"stoch_norm": True, "drop": 0.2, "cotuning_reg": 0.5}
    request = trained(run, tmp_path / "trial", model, **(extra if model == MODELS[0] else {}))
    t = load(request)
    pictures = machine.images("flowers").test
    transform = data.evaluation_transform(t.config)
    x = torch.stack([transform(pictures.open(i)) for i in range(len(pictures.files))])
    with torch.no_grad():
        want = t.model(x)
    for kind in export.FORMATS:
        request |= {"format": kind, "out": str(tmp_path / f"net.{kind}")}
        said = export.export(request)
        assert (said["type"], said["model"], said["input"]) == ("exported", load(request).name, [3, 32, 32])

    pth = torch.load(tmp_path / "net.pth", weights_only=True)
    made = timm.create_model(pth["model"].partition(".")[0], num_classes=5, checkpoint_path=str(tmp_path / "net.pth"))
    with torch.no_grad():
        assert torch.equal(made.eval()(x), want)
    assert json.loads(pth["classes"]) == CLASSES

    with safe_open(str(tmp_path / "net.safetensors"), "pt") as f:
        made.load_state_dict({k: f.get_tensor(k) for k in f.keys()})  # noqa: SIM118 - it is no dictionary
        texts = f.metadata()
    with torch.no_grad():
        assert torch.equal(made(x), want)
    assert json.loads(texts["classes"]) == CLASSES

    session = onnxruntime().InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    got = torch.from_numpy(session.run(None, {"pictures": x.numpy()})[0])
    assert len(x) != 2 and float((got - want).abs().max()) < 1e-4
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["classes"]) == CLASSES
    assert json.loads(properties["mean"]) == pytest.approx(list(t.config["mean"]))
    assert properties["model"] == t.name


def test_predictions_are_those_of_training(run: Run, machine: training.Machine, tmp_path: Path) -> None:
    messages = run(model=MODELS[1], checkpoint=str(tmp_path), epochs=1)
    pictures = machine.images("flowers").test
    files = []
    for i, name in enumerate(pictures.files):
        files.append(str(tmp_path / f"{i} {Path(name).name}"))
        Path(files[-1]).write_bytes(pictures.archive.read(name))
    (tmp_path / "bad.png").write_text("no picture")
    request = {"checkpoint": str(tmp_path), "model": MODELS[1], "classes": CLASSES, "epoch": 1, "image_size": 32}
    *good, bad = predict({**request, "pictures": [*files, str(tmp_path / "bad.png")]})
    right = 0
    for m, label in zip(good, pictures.labels, strict=True):
        p = m["probabilities"]
        assert m["type"] == "prediction" and sum(p) == pytest.approx(1, abs=1e-5)
        right += p.index(max(p)) == label
    assert right / len(good) == messages[-2]["test_accuracy"]
    assert bad["type"] == "unreadable" and "bad.png" in bad["reason"]
    asked = {**request, "trial": "t", "dataset": "flowers"}
    counted = confusion(asked, machine, training.Watcher(emit=messages.append))
    assert sum(n for _, _, n in counted["counts"]) == len(good)
    assert sum(n for a, b, n in counted["counts"] if a == b) == right


def test_another_network_is_refused(run: Run, tmp_path: Path) -> None:
    request = trained(run, tmp_path / "trial")
    out = tmp_path / "net.pth"
    for change, want in (
        ({"epoch": 2}, "epoch 1 instead of 2"),
        ({"classes": ["a", "b"]}, "with 2 classes"),
        ({"model": "mobilevit_xxs"}, "is not of mobilevit_xxs"),
        ({"checkpoint": str(tmp_path)}, "cannot be read"),
    ):
        with pytest.raises(CheckpointError, match=want):
            export.export({**request, "format": "pth", "out": str(out), **change})
    with pytest.raises(export.ExportError, match="format jpeg"):
        export.export({**request, "format": "jpeg", "out": str(out)})
    with pytest.raises(export.ExportError, match="cannot be written"):
        export.export({**request, "format": "pth", "out": str(tmp_path / "nowhere" / "net.pth")})
    assert [f.name for f in tmp_path.iterdir()] == ["trial"]


def test_a_graph_that_computes_something_else_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime()
    request = trained(run, tmp_path / "trial")
    real = torch.onnx.export

    def disturbed(model: torch.nn.Module, *args: Any, **kwargs: Any) -> None:
        head = model.get_classifier()
        head.bias.data += 1e-3
        real(model, *args, **kwargs)
        head.bias.data -= 1e-3

    monkeypatch.setattr(torch.onnx, "export", disturbed)
    with pytest.raises(export.ExportError, match="differs from torch by"):
        export.export({**request, "format": "onnx", "out": str(tmp_path / "net.onnx")})
    assert [f.name for f in tmp_path.iterdir()] == ["trial"]
