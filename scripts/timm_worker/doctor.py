"""Checks of a machine, each a JSON line: what works, and what to do about what does not."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

LOWEST_PYTHON = (3, 10)
LOWEST = {"torch": (1, 13), "torchvision": (0, 14), "timm": (0, 9)}
INSTALL = {
    "torch": "pip install torch (https://pytorch.org/get-started/locally says which for your GPU)",
    "torchvision": "pip install torchvision",
    "timm": "pip install 'timm>=0.9'",
    "safetensors": "pip install safetensors",
    "PIL": "pip install pillow",
    "numpy": "pip install numpy",
}


def line(check: str, ok: bool, detail: str) -> dict[str, Any]:
    """One result."""
    return {"type": "check", "check": check, "ok": ok, "detail": detail}


def _version(text: str) -> tuple[int, ...]:
    numbers = []
    for part in text.split("+", maxsplit=1)[0].split(".")[:2]:
        numbers.append(int("".join(c for c in part if c.isdigit()) or 0))
    return tuple(numbers)


def packages() -> Iterator[dict[str, Any]]:
    """Python and what must be installed."""
    version = ".".join(str(v) for v in sys.version_info[:3])
    fits = sys.version_info[:2] >= LOWEST_PYTHON
    yield line("python", fits, f"{version} at {sys.executable}" + ("" if fits else "; Python 3.10 or newer is needed"))
    for name, how in INSTALL.items():
        try:
            found = str(getattr(import_module(name), "__version__", "?"))
        except Exception as e:  # a package that is there may still fail to load
            missing = isinstance(e, ModuleNotFoundError) and e.name == name
            reason = "not installed" if missing else f"does not load ({type(e).__name__}: {e})"
            yield line(name, False, f"{reason}: {sys.executable} -m {how}")
            continue
        least = LOWEST.get(name)
        if least is not None and _version(found) < least:
            wanted = ".".join(str(v) for v in least)
            yield line(name, False, f"{found}, {wanted} or newer is needed: {sys.executable} -m {how}")
        else:
            yield line(name, True, found)


def device(name: str) -> str:
    """The device that is meant by auto."""
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def everything(packages: list[dict[str, Any]], a: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Packages, device, weights and one batch through one model."""
    yield from packages
    import torch

    from .model import Network, Weights, create, data_config

    count = torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(count))
    yield line("GPU", True, names or "none: training runs on the CPU, which is slow for most models")
    try:
        where = torch.device(device(a.device))
        torch.zeros(1, device=where)
        yield line("device", True, str(where))
    except Exception as e:
        yield line("device", False, f"{a.device} cannot be used: {' '.join(str(e).split())}")
        return
    try:
        pretrained = create(a.model, Weights(a.weights_dir, a.scratch), a.image_size)
    except Exception as e:
        yield line("weights", False, str(e))
        return
    place = "random" if a.scratch else f"from {a.weights_dir}" if a.weights_dir else "from timm's hub"
    yield line("weights", True, f"{a.model}, {place}")
    try:
        size = data_config(pretrained, a.image_size)["input_size"]
        network = Network(pretrained, 2)
        network.to(where)
        network.train()
        logits, _ = network(torch.randn(2, *size, device=where))
        torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1], device=where)).backward()
        yield line("batch", True, f"two pictures of {size[-1]} x {size[-2]} pixels, forward and backward")
    except Exception as e:
        yield line("batch", False, f"{type(e).__name__}: {' '.join(str(e).split())}")
