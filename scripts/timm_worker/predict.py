"""Pictures classified by a trained network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from . import data
from .trained import load


def predict(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A message for each of the pictures of a request, in their order: the probability of
    every class, or why there is none."""
    t = load(request)
    transform = data.evaluation_transform(t.config)
    for path in request["pictures"]:
        try:
            picture = data.decode(Path(path).read_bytes())
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
            why = getattr(e, "strerror", None) or "not a picture that can be read"
            yield {"type": "unreadable", "reason": f"{path}: {why}"}
            continue
        with torch.no_grad():
            p = torch.softmax(t.model(transform(picture)[None])[0], dim=0)
        yield {"type": "prediction", "probabilities": p.tolist()}
