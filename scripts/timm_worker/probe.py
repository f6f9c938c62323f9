"""What a pretrained model says about pictures before any fine-tuning.

For each picture: the features that enter the head, the probabilities of the model's own
classes, and derivatives of its outputs by the last weights of the body, those of the
matrix or convolution that is used last before the head. (By the head's own weights the
derivative of an output is the features themselves.) The outputs that are differentiated are
a few random combinations of all, the same for every picture: in expectation their products
are those of all outputs. Derivatives are sketched: each is added, with a random sign, to one
of `width` sums, which keeps products in expectation.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from . import data
from .model import ModelError, classifier, create, data_config
from .training import Machine

# Pictures that pass at the same time.
BATCH = 16


class ProbeError(Exception):
    """Pictures that cannot be probed."""


@dataclass(frozen=True)
class Request:
    """Which model looks at which pictures."""

    model: str
    dataset: str
    rows: list[int]  # among the pictures for training
    out: Path
    seed: int
    combinations: int  # of outputs; 0 for no derivatives
    width: int  # that derivatives are sketched to

    @staticmethod
    def read(m: Mapping[str, Any]) -> Request:
        """Check a message."""
        try:
            r = Request(
                str(m["model"]),
                str(m["dataset"]),
                [int(i) for i in m["rows"]],
                Path(m["out"]),
                int(m.get("seed") or 0),
                int(m.get("combinations") or 0),
                int(m.get("width") or 0),
            )
        except (KeyError, TypeError, ValueError) as e:
            raise ProbeError(f"not a request: {e!r}") from e
        if not r.rows or r.combinations < 0 or (r.combinations and r.width < 1):
            raise ProbeError(f"probing {r.model} on {r.dataset}: no pictures, or no width to sketch to")
        return r


class Watched:
    """A model whose features are caught, with the last weights of its body."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.eval().requires_grad_(False)
        self.head = classifier(model)
        self.caught: list[Tensor] = []
        self.head.register_forward_pre_hook(self._enter)

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.caught.append(inputs[0])

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features and outputs of pictures."""
        self.caught.clear()
        outputs = self.model(x)
        if len(self.caught) != 1:
            raise ModelError(f"model {type(self.model).__name__} uses its head {len(self.caught)} times")
        return self.caught[0].flatten(1), outputs

    def last_weights(self, x: Tensor) -> nn.Parameter:
        """The weights of the matrix or convolution that is used last before the head."""
        inside, used = set(self.head.modules()), list[nn.Parameter]()

        def note(module: nn.Module, *_: Any) -> None:
            weight = getattr(module, "weight", None)
            if not self.caught and isinstance(weight, nn.Parameter) and weight.ndim >= 2:
                used.append(weight)

        hooks = [m.register_forward_hook(note) for m in self.model.modules() if m not in inside]
        try:
            with torch.no_grad():
                self(x)
        finally:
            for h in hooks:
                h.remove()
        if not used:
            raise ModelError(f"model {type(self.model).__name__} has no weights before its head")
        return used[-1]


class Sketch:
    """Random signs and places for the derivatives, and random combinations of outputs."""

    def __init__(self, seed: int, combinations: int, outputs: int, weights: int, width: int) -> None:
        g = torch.Generator().manual_seed(seed)
        self.sums = torch.randn(combinations, outputs, generator=g) / combinations**0.5
        self.place = torch.randint(width, (weights,), generator=g)
        self.sign = torch.randint(2, (weights,), generator=g) * 2.0 - 1.0
        self.width = width

    def to(self, device: torch.device) -> None:
        """Move everything."""
        self.sums, self.place, self.sign = self.sums.to(device), self.place.to(device), self.sign.to(device)

    def __call__(self, derivative: Tensor) -> Tensor:
        """The sums of a derivative."""
        out = torch.zeros(self.width, dtype=torch.float64, device=derivative.device)
        return out.index_add_(0, self.place, (derivative.flatten() * self.sign).double())


def derivatives(watched: Watched, x: Tensor, weights: nn.Parameter, sketch: Sketch) -> tuple[Tensor, Tensor, Tensor]:
    """Features, outputs, and sketched derivatives [pictures, combinations, width]."""
    weights.requires_grad_(True)
    try:
        with torch.enable_grad():
            features, outputs = watched(x)
            combined = outputs @ sketch.sums.t()
            rows = []
            for i in range(len(x)):
                for j in range(combined.shape[1]):
                    last = i == len(x) - 1 and j == combined.shape[1] - 1
                    (d,) = torch.autograd.grad(combined[i, j], weights, retain_graph=not last)
                    rows.append(sketch(d))
    finally:
        weights.requires_grad_(False)
    gradients = torch.stack(rows).reshape(len(x), combined.shape[1], -1)
    return features.detach(), outputs.detach(), gradients


def digest(model: nn.Module) -> str:
    """SHA-256 of the weights, 16 digits."""
    h = hashlib.sha256()
    for name, value in model.state_dict().items():
        h.update(name.encode())
        h.update(value.detach().cpu().contiguous().numpy().tobytes())
    return h.hexdigest()[:16]


def probe(r: Request, machine: Machine) -> dict[str, Any]:
    """Write the file of a request, safetensors, whole or not at all, and say what is in it."""
    pictures = machine.images(r.dataset).train
    if min(r.rows) < 0 or max(r.rows) >= len(pictures.files):
        raise ProbeError(f"data set {r.dataset} has {len(pictures.files)} pictures for training, not {max(r.rows) + 1}")
    torch.manual_seed(r.seed)  # of random weights, where they are asked for
    model = create(r.model, machine.weights, machine.image_size)
    weights_digest = digest(model)
    config = data_config(model, machine.image_size)
    watched = Watched(model.to(machine.device))
    chosen = data.Pictures(
        pictures.archive, [pictures.files[i] for i in r.rows], [pictures.labels[i] for i in r.rows], pictures.kept
    )
    loader = data.evaluation_loader(chosen, config, BATCH, machine.loader_workers, False)
    last: nn.Parameter | None = None
    sketch: Sketch | None = None
    features, source, gradients, labels = list[Tensor](), list[Tensor](), list[Tensor](), list[Tensor]()
    start = time.perf_counter()
    for batch, y in loader:
        x = batch.to(machine.device)
        if r.combinations:
            if last is None or sketch is None:
                last = watched.last_weights(x[:1])
                with torch.no_grad():
                    outputs = watched(x[:1])[1]
                sketch = Sketch(r.seed, r.combinations, outputs.shape[1], last.numel(), r.width)
                sketch.to(machine.device)
            f, o, g = derivatives(watched, x, last, sketch)
            gradients.append(g.float().cpu())
        else:
            with torch.no_grad():
                f, o = watched(x)
        features.append(f.float().cpu())
        source.append(torch.softmax(o.float(), dim=1).cpu())
        labels.append(y)
    seconds = time.perf_counter() - start
    tensors = {"features": torch.cat(features), "source": torch.cat(source), "labels": torch.cat(labels).float()}
    if gradients:
        tensors["gradients"] = torch.cat(gradients)
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise ProbeError(f"probing {r.model} on {r.dataset}: {name} that are not finite")
    _write(tensors, r.out)
    return {
        "type": "probed",
        "model": r.model,
        "dataset": r.dataset,
        "weights": weights_digest,
        "pixels": int(config["input_size"][-1]),
        "seconds": seconds,
    }


def _write(tensors: dict[str, Tensor], out: Path) -> None:
    temporary = out.with_name(f".{out.name}.tmp-{os.getpid()}")
    try:
        save_file({k: v.contiguous() for k, v in tensors.items()}, str(temporary))
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def answer(lines: IO[str], machine: Machine) -> Iterator[dict[str, Any]]:
    """An answer to each request, one a line."""
    for line in lines:
        if not line.strip():
            continue
        try:
            try:
                message = json.loads(line)
            except ValueError as e:
                raise ProbeError(f"not a request: {e}") from e
            yield probe(Request.read(message), machine)
        except (ProbeError, ModelError, data.DataError, OSError) as e:
            yield {"type": "error", "reason": str(e)}
        except torch.cuda.OutOfMemoryError as e:
            yield {"type": "error", "reason": f"out of memory: {' '.join(str(e).split())[:300]}"}
