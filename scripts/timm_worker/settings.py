"""A configuration, checked: the search space of Quick-Tune on any timm model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class BadConfigurationError(ValueError):
    """A configuration that cannot be trained, whoever tries."""


@dataclass(frozen=True)
class Settings:
    """Every hyperparameter, with what an inactive one means."""

    pct_to_freeze: float = 0.0
    layer_decay: float | None = None
    linear_probing: bool = False
    stoch_norm: bool = False
    sp_reg: float = 0.0
    delta_reg: float = 0.0
    bss_reg: float = 0.0
    cotuning_reg: float = 0.0
    mixup: float = 0.0
    mixup_prob: float = 1.0
    cutmix: float = 0.0
    drop: float = 0.0
    smoothing: float = 0.0
    clip_grad: float | None = None
    data_augmentation: str | None = None
    auto_augment: str = "original"
    ra_num_ops: int = 2
    ra_magnitude: int = 9
    opt: str = "sgd"
    opt_betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    lr: float = 1e-3
    warmup_lr: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 32
    amp: bool = False
    sched: str = "cosine"
    warmup_epochs: int = 0
    patience_epochs: int = 10
    decay_rate: float = 0.1
    decay_epochs: int = 20

    @property
    def freeze(self) -> float:
        """The share of the body that is not trained; all of it for linear probing."""
        return 1.0 if self.linear_probing else self.pct_to_freeze

    @property
    def mixes(self) -> bool:
        """Whether pictures of a batch are mixed with each other."""
        return (self.mixup > 0 or self.cutmix > 0) and self.mixup_prob > 0


# The bounds are wider than the choices of the space: a search on another space may
# send other numbers, but none without a meaning.
_RANGES: dict[str, tuple[float, float]] = {
    "pct_to_freeze": (0, 1),
    "layer_decay": (1e-3, 1),
    "sp_reg": (0, 1e6),
    "delta_reg": (0, 1e6),
    "bss_reg": (0, 1e6),
    "cotuning_reg": (0, 1e6),
    "mixup": (0, 1e6),
    "mixup_prob": (0, 1),
    "cutmix": (0, 1e6),
    "drop": (0, 0.999),
    "smoothing": (0, 0.999),
    "clip_grad": (0, 1e6),
    "ra_num_ops": (1, 16),
    "ra_magnitude": (0, 30),
    "momentum": (0, 1),
    "lr": (0, 1e3),
    "warmup_lr": (0, 1e3),
    "weight_decay": (0, 1e3),
    "batch_size": (1, 1 << 20),
    "warmup_epochs": (0, 1 << 20),
    "patience_epochs": (0, 1 << 20),
    "decay_rate": (0, 1),
    "decay_epochs": (1, 1 << 20),
}
_WHOLE = {"ra_num_ops", "ra_magnitude", "batch_size", "warmup_epochs", "patience_epochs", "decay_epochs"}
_FLAGS = {"linear_probing", "stoch_norm", "amp"}
_WORDS = {
    "data_augmentation": ("trivial_augment", "random_augment", "auto_augment"),
    "auto_augment": ("v0", "original"),
    "opt": ("sgd", "momentum", "adam", "adamw", "adamp"),
    "sched": ("cosine", "step", "multistep", "plateau"),
}
# The plan may carry these; the request itself says the same.
_ELSEWHERE = {"model", "epochs"}


def parse(config: Mapping[str, Any]) -> Settings:
    """Read a configuration. A null and a missing value both mean the default."""
    values: dict[str, Any] = {}
    for name, value in config.items():
        if name in _ELSEWHERE or value is None:
            continue
        if name in _RANGES:
            values[name] = _number(name, value)
        elif name in _FLAGS:
            if not isinstance(value, bool):
                raise BadConfigurationError(f"hyperparameter {name} is {value!r}, want true or false")
            values[name] = value
        elif name in _WORDS:
            if value not in _WORDS[name]:
                raise BadConfigurationError(
                    f"hyperparameter {name} is {value!r}, want one of {', '.join(_WORDS[name])}"
                )
            values[name] = value
        elif name == "opt_betas":
            values[name] = _betas(value)
        else:
            raise BadConfigurationError(f"the timm worker knows no hyperparameter {name}")
    return Settings(**values)


def _number(name: str, value: Any) -> float | int:
    low, high = _RANGES[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise BadConfigurationError(f"hyperparameter {name} is {value!r}, want a number in [{low:g}, {high:g}]")
    if name in _WHOLE:
        if value != math.floor(value):
            raise BadConfigurationError(f"hyperparameter {name} is {value!r}, want a whole number")
        return int(value)
    return float(value)


def _betas(value: Any) -> tuple[float, float]:
    try:
        first, second = (float(x) for x in (json.loads(value) if isinstance(value, str) else value))
    except (TypeError, ValueError):
        first = second = math.nan
    if not (0 <= first < 1 and 0 <= second < 1):
        raise BadConfigurationError(
            f'hyperparameter opt_betas is {value!r}, want two numbers in [0, 1) such as "[0.9, 0.999]"'
        )
    return first, second
