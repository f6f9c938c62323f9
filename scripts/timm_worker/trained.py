"""The network in a checkpoint, and what must be known to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .model import Weights, create, data_config
from .names import today
from .training import CHECKPOINT


class CheckpointError(Exception):
    """A checkpoint that does not hold the network that it should."""


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode: the plain timm model with its new head."""

    model: nn.Module
    name: str
    classes: list[str]
    config: dict[str, Any]  # of the pictures: input_size, mean, std, interpolation, crop_pct

    def texts(self) -> dict[str, str]:
        """What goes into a file beside the weights, each as a text: JSON, but for what is one
        already. torch 1.13 reads no numbers without running what is in a file."""
        picked = {k: self.config[k] for k in ("input_size", "mean", "std", "interpolation", "crop_pct")}
        facts = {"model": self.name, "classes": self.classes, **picked}
        return {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in facts.items()}


def load(request: Mapping[str, Any]) -> Trained:
    """The network that a request names by folder of the checkpoint, epoch, model, size of
    pictures and classes."""
    file, name, classes = Path(request["checkpoint"], CHECKPOINT), str(request["model"]), list(request["classes"])
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        epoch = json.loads(state["text"])["epoch"]
    except Exception as e:  # torch raises many kinds for a damaged file
        raise CheckpointError(f"{file} cannot be read: {' '.join(str(e).split())[:300]}") from e
    if epoch != request["epoch"]:
        raise CheckpointError(f"{file} holds the weights of epoch {epoch} instead of {request['epoch']}")
    size = int(request.get("image_size") or 0)
    model = create(name, Weights(scratch=True), size)
    model.reset_classifier(len(classes))
    prefix = "model/"
    try:
        model.load_state_dict({k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)})
    except RuntimeError as e:
        raise CheckpointError(f"{file} is not of {name} with {len(classes)} classes") from e
    return Trained(model.eval(), today(name), classes, data_config(model, size))
