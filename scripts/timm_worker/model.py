"""timm models: where their weights come from, what of them is trained, and how."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import resolve_data_config
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from .names import today

# The probability with which stochastic norm takes the running statistics of a channel.
STOCHASTIC_NORM = 0.5

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


class ModelError(Exception):
    """A model that cannot be had: unknown, or without its weights."""


@dataclass(frozen=True)
class Weights:
    """Where pretrained weights come from: timm's hub, a folder or a file, or nowhere."""

    place: str = ""  # a folder or a file; "" is the hub
    scratch: bool = False

    def file(self, name: str) -> Path | None:
        """The local file of a model, None for the hub."""
        if not self.place:
            return None
        place = Path(self.place)
        if place.is_file():
            return place
        new = today(name)
        for stem in dict.fromkeys((name, new, new.partition(".")[0])):
            for suffix in SUFFIXES:
                for candidate in (place / (stem + suffix), place / stem / ("model" + suffix)):
                    if candidate.is_file():
                        return candidate
        raise ModelError(
            f"no weights of {name} in {self.place}: want {new}.safetensors or .pth, as timm saves it; "
            "leave --weights-dir away to take them from the hub, or use --scratch"
        )


def create(name: str, weights: Weights, image_size: int = 0, **options: Any) -> nn.Module:
    """A model with its pretrained head."""
    new = today(name)
    if not timm.is_model(new):
        raise ModelError(f"timm {timm.__version__} has no model {new}: timm.list_models() lists what it has")
    file = None if weights.scratch else weights.file(name)
    if file is not None:
        options["pretrained_cfg_overlay"] = {"file": str(file)}
    try:
        return _create(new, not weights.scratch, image_size, options)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as e:
        where = f"from {file}" if file is not None else "from timm's hub"
        raise ModelError(
            f"model {new}: its weights could not be had {where} ({type(e).__name__}: {_line(e)}); "
            "--weights-dir names a folder with them, --scratch does without"
        ) from e


def _create(name: str, pretrained: bool, image_size: int, options: dict[str, Any]) -> nn.Module:
    """Pass the size of pictures to models that are built for one."""
    if image_size:
        try:
            return timm.create_model(name, pretrained=pretrained, img_size=image_size, **options)
        except TypeError as e:
            if "img_size" not in str(e):
                raise
    return timm.create_model(name, pretrained=pretrained, **options)


def _line(e: BaseException) -> str:
    return " ".join(str(e).split())[:300]


def data_config(model: nn.Module, image_size: int = 0) -> dict[str, Any]:
    """The pictures that a model wants: size, normalisation, interpolation, crop."""
    config = dict(resolve_data_config({}, model=model))
    if image_size:
        config["input_size"] = (config["input_size"][0], image_size, image_size)
    return config


def classifier(model: nn.Module) -> nn.Module:
    """The head of a model."""
    head = model.get_classifier()
    if not isinstance(head, nn.Module) or isinstance(head, nn.Identity):
        raise ModelError(f"model {type(model).__name__} has no single head to replace")
    return head


class StochasticNorm:
    """Stochastic normalisation (Kou et al., NeurIPS 2020), mixed into a batch norm: in
    training a channel is normalised by its running statistics with probability 0.5."""

    def forward(self: Any, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)  # type: ignore[misc]
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        batch = functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
        )
        running = functional.batch_norm(
            x, self.running_mean.clone(), self.running_var.clone(), self.weight, self.bias, False, 0.0, self.eps
        )
        shape = (1, -1) + (1,) * (x.ndim - 2)
        chosen = torch.rand(x.shape[1], device=x.device) < STOCHASTIC_NORM
        x = torch.where(chosen.view(shape), running, batch)
        # timm's norms have an activation in them.
        for part in ("drop", "act"):
            if isinstance(getattr(self, part, None), nn.Module):
                x = getattr(self, part)(x)
        return x


def add_stochastic_norm(model: nn.Module, frozen: set[nn.Module]) -> int:
    """Turn the batch norms that are trained into stochastic ones; the names of the
    parameters stay. Returns their number: networks without batch norm have none."""
    count = 0
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module not in frozen and module.running_mean is not None:
            kind = type(module)
            module.__class__ = type("Stochastic" + kind.__name__, (StochasticNorm, kind), {})
            count += 1
    return count


def layers(model: nn.Module, head: nn.Module) -> list[nn.Module]:
    """The layers of the body that have parameters, from the input on."""
    inside = set(head.modules())
    return [m for m in model.modules() if m not in inside and next(m.parameters(recurse=False), None) is not None]


def freeze(model: nn.Module, head: nn.Module, share: float) -> set[nn.Module]:
    """Freeze the body's layers by the rule of Quick-Tune: the layer at position i of L,
    counted from the input, is trained if i/L > share. Returns the frozen ones."""
    body = layers(model, head)
    frozen = set()
    for i, layer in enumerate(body, start=1):
        if i / len(body) <= share:
            frozen.add(layer)
            for p in layer.parameters(recurse=False):
                p.requires_grad = False
    return frozen


class Network:
    """A model that is fine-tuned: its new head, its features, and what is compared with.

    Features are what goes into the head, [batch, n], before dropout. `start` holds the
    values that trained weights of the body began with, `source` the head of the
    pretrained model, `original` the whole pretrained model, where they are asked for.
    """

    def __init__(
        self,
        pretrained: nn.Module,
        classes: int,
        *,
        share: float = 0.0,
        drop: float = 0.0,
        stochastic: bool = False,
        keep_start: bool = False,
        keep_source: bool = False,
        keep_original: bool = False,
    ) -> None:
        self.model = pretrained
        old_head = classifier(pretrained)
        share_frozen = {id(p) for p in old_head.parameters()}
        body_trains = share < 1 and any(id(p) not in share_frozen for p in pretrained.parameters())
        self.source: nn.Module | None = copy.deepcopy(old_head) if keep_source and body_trains else None
        self.original: nn.Module | None = copy.deepcopy(pretrained) if keep_original and body_trains else None
        self._original_features: list[Tensor] = []
        if self.original is not None:
            self.original.eval().requires_grad_(False)
            classifier(self.original).register_forward_pre_hook(_catch(self._original_features))
        # The new head is drawn at random by timm.
        pretrained.reset_classifier(classes)
        self.head = classifier(pretrained)
        self.frozen = freeze(pretrained, self.head, share)
        self.body_trains = len(self.frozen) < len(layers(pretrained, self.head))
        if stochastic:
            add_stochastic_norm(pretrained, self.frozen)
        inside = {id(p) for p in self.head.parameters()}
        self.start: list[tuple[nn.Parameter, Tensor]] = []
        if keep_start:
            self.start = [
                (p, p.detach().clone()) for p in pretrained.parameters() if p.requires_grad and id(p) not in inside
            ]
        self.drop = drop
        self._raw: list[Tensor] = []
        self.head.register_forward_pre_hook(self._enter_head)

    def to(self, device: torch.device) -> None:
        """Move everything."""
        self.model.to(device)
        for m in (self.source, self.original):
            if m is not None:
                m.to(device)
        self.start = [(p, s.to(device)) for p, s in self.start]

    def _enter_head(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        self._raw.append(inputs[0])
        return (functional.dropout(inputs[0], self.drop, self.model.training), *inputs[1:])

    def train(self) -> None:
        """Training mode, but for what is frozen."""
        self.model.train(self.body_trains)
        self.model.training = True
        self.head.train()
        for layer in self.frozen:
            layer.eval()

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features of pictures; the features also as the head takes them."""
        self._raw.clear()
        logits = self.model(x)
        if len(self._raw) != 1:
            raise ModelError(f"model {type(self.model).__name__} uses its head {len(self._raw)} times")
        return logits, self._raw[0].flatten(1)

    def source_logits(self) -> Tensor:
        """What the pretrained head says of the pictures of the last call."""
        if self.source is None:
            raise ModelError("the source head was not kept")
        return self.source(self._raw[0]).flatten(1)

    def original_features(self, x: Tensor) -> Tensor:
        """Features by the pretrained model."""
        if self.original is None:
            raise ModelError("the pretrained model was not kept")
        self._original_features.clear()
        with torch.no_grad():
            self.original(x)
        return self._original_features[0].flatten(1)

    def trained(self) -> list[nn.Parameter]:
        """Everything that the optimiser moves."""
        found = [p for p in self.model.parameters() if p.requires_grad]
        if self.source is not None:
            found += list(self.source.parameters())
        return found


def _catch(into: list[Tensor]) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        into.append(inputs[0])

    return hook
