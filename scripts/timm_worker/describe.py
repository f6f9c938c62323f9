"""What is known of a model before anything is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from .model import Weights, classifier, create, data_config


class MultiplyAdds(TorchDispatchMode):
    """Counts the multiply-adds of convolutions and matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.__name__.split(".")[0]
        if name == "convolution":
            weight = args[1]
            self.total += out.numel() * weight[0].numel()
        elif name in ("mm", "bmm", "matmul"):
            self.total += out.numel() * args[0].shape[-1]
        elif name in ("addmm", "baddbmm"):
            self.total += out.numel() * args[1].shape[-1]
        return out


def describe(name: str, image_size: int = 0) -> dict[str, Any]:
    """Parameters, multiply-adds of one picture and the width of the input."""
    model = create(name, Weights(scratch=True), image_size).eval()
    classifier(model)
    config = data_config(model, image_size)
    return {
        "type": "model",
        "model": name,
        "params_millions": round(sum(p.numel() for p in model.parameters()) / 1e6, 4),
        "gmacs": round(multiply_adds(model, config["input_size"]) / 1e9, 4),
        "pixels": config["input_size"][-1],
    }


def multiply_adds(model: nn.Module, size: tuple[int, int, int]) -> int:
    """Multiply-adds of one picture on the way forward."""
    with torch.no_grad(), MultiplyAdds() as count:
        model(torch.zeros(1, *size))
    return count.total
