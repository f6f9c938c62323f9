"""Probes against plain timm and autograd, and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file
from test_serve import ENVIRONMENT
from timm_worker import data, probe
from timm_worker.model import Weights, create, data_config
from timm_worker.training import Machine

MODELS = ["tf_efficientnet_lite0", "vit_tiny_patch16_224", "convnext_atto"]


def machine(flowers: Path) -> Machine:
    return Machine(weights=Weights(scratch=True), descriptions=flowers, image_size=64)


def request(out: Path, **change: Any) -> dict[str, Any]:
    asked = {"model": "tf_efficientnet_lite0", "dataset": "flowers", "rows": [0, 3, 5, 6], "out": str(out), "seed": 7}
    return {**asked, "combinations": 2, "width": 64, **change}


@pytest.mark.parametrize("name", MODELS)
def test_features_and_probabilities_are_those_of_the_model(flowers: Path, tmp_path: Path, name: str) -> None:
    m = machine(flowers)
    rows = list(range(18))  # more than a batch
    r = probe.Request.read(request(tmp_path / "out.safetensors", model=name, rows=rows))
    told = probe.probe(r, m)
    assert told["type"] == "probed" and told["pixels"] == 64 and len(told["weights"]) == 16
    got = load_file(str(r.out))
    torch.manual_seed(r.seed)
    model = create(name, m.weights, 64).eval()
    assert probe.digest(model) == told["weights"]
    pictures = m.images("flowers").train
    transform = data.evaluation_transform(data_config(model, 64))
    x = torch.stack([transform(pictures.open(i)) for i in rows])
    with torch.no_grad():
        features = model.forward_head(model.forward_features(x), pre_logits=True).flatten(1)
        logits = model(x)
    torch.testing.assert_close(got["features"], features, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got["source"], torch.softmax(logits, 1), rtol=1e-4, atol=1e-5)
    assert got["labels"].tolist() == [pictures.labels[i] for i in rows]
    assert got["gradients"].shape == (18, 2, 64) and bool(got["gradients"].abs().sum() > 0)


def test_derivatives_are_those_of_each_picture_alone(flowers: Path, tmp_path: Path) -> None:
    m = machine(flowers)
    r = probe.Request.read(request(tmp_path / "out.safetensors"))
    probe.probe(r, m)
    got = load_file(str(r.out))["gradients"]
    torch.manual_seed(r.seed)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    last = model.conv_head.weight
    sketch = probe.Sketch(r.seed, 2, 1000, last.numel(), 64)
    pictures = m.images("flowers").train
    transform = data.evaluation_transform(data_config(model, 64))
    for k, i in enumerate(r.rows):
        logits = model(transform(pictures.open(i))[None])[0]
        for j in range(2):
            (d,) = torch.autograd.grad((logits * sketch.sums[j]).sum(), last, retain_graph=True)
            want = torch.bincount(sketch.place, (d.flatten() * sketch.sign).double(), minlength=64)
            torch.testing.assert_close(got[k, j].double(), want, rtol=1e-3, atol=1e-3 * float(want.abs().max()))


def test_the_last_weights_are_used_last_before_the_head() -> None:
    for name, want in {
        "tf_efficientnet_lite0": "conv_head.weight",
        "vit_tiny_patch16_224": "blocks.11.mlp.fc2.weight",
        "resnet18": "layer4.1.conv2.weight",
    }.items():
        model = timm.create_model(name, pretrained=False)
        found = probe.Watched(model).last_weights(torch.zeros(1, 3, 224, 224))
        assert [n for n, p in model.named_parameters() if p is found] == [want]


def test_products_survive_the_sketch() -> None:
    d = torch.randn(2, 5000, generator=torch.Generator().manual_seed(1))
    d[1] += d[0]
    products = []
    for seed in range(40):
        s = probe.Sketch(seed, 1, 3, 5000, 512)
        products.append(float(s(d[0]) @ s(d[1])))
    mean = sum(products) / len(products)
    assert abs(mean / float(d[0] @ d[1]) - 1) < 0.05


def test_without_combinations_there_are_no_derivatives(flowers: Path, tmp_path: Path) -> None:
    r = probe.Request.read(request(tmp_path / "out.safetensors", combinations=0))
    probe.probe(r, machine(flowers))
    assert sorted(load_file(str(r.out))) == ["features", "labels", "source"]


def test_the_command_answers_every_line(flowers: Path, tmp_path: Path) -> None:
    lines = [
        json.dumps(request(tmp_path / "a.safetensors")),
        "nonsense",
        json.dumps(request(tmp_path / "b.safetensors", rows=[0, 10_000])),
        json.dumps(request(tmp_path / "c.safetensors", model="no_such_model")),
        json.dumps(request(tmp_path / "d.safetensors", dataset="elsewhere")),
        json.dumps(request(tmp_path / "e.safetensors", rows=[])),
        json.dumps(request(tmp_path / "f.safetensors", rows=[1])),
    ]
    command = [sys.executable, "-m", "timm_worker", "probe", "--data", str(flowers), "--scratch", "--image-size", "32"]
    done = subprocess.run(
        [*command, "--device", "cpu", "--threads", "1"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = ["probed", "error", "error", "error", "error", "error", "probed"]
    assert [a["type"] for a in answers] == kinds and done.returncode == 1
    for a, want in zip(
        answers[1:6], ["not a request", "not 10001", "has no model", "elsewhere", "no pictures"], strict=True
    ):
        assert want in a["reason"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "f.safetensors"]
