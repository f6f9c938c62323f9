"""Pictures classified by a trained network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from . import data
from .trained import load
from .training import Machine, Watcher, autocast

# Test pictures that are classified together.
BATCH = 64


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


def confusion(request: Mapping[str, Any], machine: Machine, watcher: Watcher) -> dict[str, Any]:
    """How often test pictures of each class are taken for which: triples of the class, the
    other and their number. It is done as an epoch's evaluation does it."""
    t = load(request)
    t.model.to(machine.device)
    counts: dict[tuple[int, int], int] = {}
    loader = data.evaluation_loader(
        machine.images(str(request["dataset"])).test, t.config, BATCH, machine.loader_workers, False
    )
    with torch.no_grad(), autocast(machine.device, bool(request.get("amp")) and machine.device.type == "cuda"):
        for x, y in loader:
            watcher.check("looking at test pictures")
            taken = t.model(x.to(machine.device)).argmax(dim=1).cpu()
            for pair in zip(y.tolist(), taken.tolist(), strict=True):
                counts[pair] = counts.get(pair, 0) + 1
    return {
        "type": "confusion",
        "trial": str(request["trial"]),
        "counts": [[a, b, n] for (a, b), n in sorted(counts.items())],
    }
