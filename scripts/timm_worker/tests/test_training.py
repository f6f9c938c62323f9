"""Every strategy and every optimiser, on real pictures, and what can go wrong."""

from __future__ import annotations

import errno
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from timm_worker import model, training

Run = Callable[..., list[dict[str, Any]]]

ARCHITECTURES = ["tf_efficientnet_lite0", "edgenext_xx_small", "vit_tiny_patch16_224"]

STRATEGIES: dict[str, dict[str, Any]] = {
    "freeze 40 %": {"pct_to_freeze": 0.4},
    "freeze all": {"pct_to_freeze": 1.0},
    "layer decay": {"layer_decay": 0.65},
    "linear probing": {"linear_probing": True, "sp_reg": 0.1, "delta_reg": 0.1, "bss_reg": 0.1, "cotuning_reg": 4.0},
    "stochastic norm": {"stoch_norm": True},
    "L2-SP": {"sp_reg": 0.01},
    "DELTA": {"delta_reg": 0.01},
    "BSS": {"bss_reg": 0.01},
    "co-tuning": {"cotuning_reg": 1.0},
    "mixup": {"mixup": 0.2, "mixup_prob": 1.0},
    "cutmix": {"cutmix": 1.0, "mixup_prob": 0.5},
    "both": {"mixup": 0.4, "cutmix": 0.25, "mixup_prob": 1.0, "smoothing": 0.1},
    "dropout": {"drop": 0.4},
    "smoothing": {"smoothing": 0.1},
    "clipping": {"clip_grad": 1},
    "trivial augment": {"data_augmentation": "trivial_augment"},
    "random augment": {"data_augmentation": "random_augment", "ra_num_ops": 3, "ra_magnitude": 17},
    "auto augment v0": {"data_augmentation": "auto_augment", "auto_augment": "v0"},
    "auto augment original": {"data_augmentation": "auto_augment", "auto_augment": "original"},
    "mixed precision": {"amp": True},
}

OPTIMISERS: dict[str, dict[str, Any]] = {
    "sgd": {"opt": "sgd"},
    "momentum": {"opt": "momentum", "momentum": 0.0},
    "adam": {"opt": "adam", "opt_betas": "[0.0, 0.99]"},
    "adamw": {"opt": "adamw", "opt_betas": "[0.9, 0.99]", "weight_decay": 0.01},
    "adamp": {"opt": "adamp", "opt_betas": "[0.0, 0.999]"},
}


def check(messages: list[dict[str, Any]], epochs: int) -> None:
    """A whole curve with numbers that can be true."""
    *records, end = messages
    assert (end["type"], end["end"]) == ("end", "completed"), end
    assert [r["epoch"] for r in records] == list(range(1, epochs + 1))
    for r in records:
        assert math.isfinite(r["train_loss"]) and math.isfinite(r["val_loss"])
        assert 0 <= r["val_accuracy"] <= 1 and 0 <= r["test_accuracy"] <= 1
        assert r["train_seconds"] > 0 and r["eval_seconds"] > 0 and r["memory_peak"] > 1 << 20


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("model", ARCHITECTURES)
def test_every_strategy_trains(run: Run, model: str, strategy: str) -> None:
    check(run(model, config=STRATEGIES[strategy]), 1)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("model", ARCHITECTURES)
def test_every_optimiser_trains(run: Run, model: str, optimiser: str) -> None:
    check(run(model, config=OPTIMISERS[optimiser]), 1)


def rates(run: Run, **config: Any) -> list[float]:
    """The learning rates of ten epochs, in thousandths; nothing but the head is trained."""
    *records, _ = run(epochs=10, config={"lr": 1e-3, "linear_probing": True, "batch_size": 24, **config})
    return [round(r["learning_rate"] * 1e3, 6) for r in records]


def test_the_learning_rate_follows_its_schedule(run: Run) -> None:
    cosine = [round((1 + math.cos(math.pi * t / 10)) / 2, 6) for t in range(10)]
    assert rates(run, sched="cosine") == cosine
    assert rates(run, sched="step", decay_epochs=4, decay_rate=0.5) == [1.0] * 4 + [0.5] * 4 + [0.25] * 2
    # Milestones at 30, 60 and 90 % of the plan.
    assert rates(run, sched="multistep", decay_rate=0.1) == [1.0] * 3 + [0.1] * 3 + [0.01] * 3 + [0.001]
    warm = rates(run, sched="cosine", warmup_epochs=5, warmup_lr=1e-5)
    assert warm[:5] == [0.01, 0.208, 0.406, 0.604, 0.802] and warm[5:] == cosine[5:]


def test_plateau_cuts_the_rate_when_nothing_gets_better(run: Run) -> None:
    # At such a rate nothing is learnt: the first epoch is the best, and after more than
    # two others the rate is cut.
    found = rates(run, lr=1e-6, sched="plateau", patience_epochs=2, decay_rate=0.1)
    assert found == [0.001] * 4 + [0.0001] * 3 + [0.00001] * 3


def same(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> None:
    """Equal but for what the clock and the memory say."""
    machine = ("train_seconds", "eval_seconds", "memory_peak")
    assert [{k: v for k, v in m.items() if k not in machine} for m in a] == [
        {k: v for k, v in m.items() if k not in machine} for m in b
    ]


@pytest.mark.parametrize(
    "config",
    [
        {
            "opt": "adamw",
            "mixup": 0.4,
            "cutmix": 1.0,
            "mixup_prob": 0.5,
            "drop": 0.2,
            "stoch_norm": True,
            "cotuning_reg": 0.5,
        },
        {
            "opt": "momentum",
            "sched": "plateau",
            "patience_epochs": 2,
            "sp_reg": 0.01,
            "delta_reg": 0.01,
            "layer_decay": 0.75,
        },
        {
            "opt": "adamp",
            "sched": "multistep",
            "data_augmentation": "trivial_augment",
            "bss_reg": 0.01,
            "pct_to_freeze": 0.6,
        },
    ],
)
def test_a_trial_that_was_interrupted_ends_like_one_that_was_not(
    run: Run, machine: training.Machine, tmp_path: Path, config: dict[str, Any]
) -> None:
    whole = run(config=config, epochs=3)
    check(whole, 3)
    folder = str(tmp_path / "checkpoint")
    first = run(config=config, epochs=3, until=1, checkpoint=folder)
    check(first, 1)
    same(first[:1], whole[:1])
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    # The same worker has the trial in memory still, another one reads the checkpoint.
    for on, place in ((machine, folder), (replace(machine, _kept=None), str(other))):
        rest = run(on=on, config=config, epochs=3, checkpoint=place)
        same(rest, whole)
        # What is in the checkpoint is told exactly as it was, seconds included.
        assert rest[0] == first[0]


def test_a_trial_is_held_until_somebody_else_goes_on_with_it(
    run: Run, machine: training.Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def create(name: str, *rest: Any) -> torch.nn.Module:
        made.append(name)
        return model.create(name, *rest)

    monkeypatch.setattr(training, "create", create)
    folder, other = str(tmp_path / "a"), str(tmp_path / "b")
    run(epochs=3, until=1, checkpoint=folder)
    run(epochs=3, until=2, checkpoint=folder)
    assert len(made) == 1
    run(epochs=3, until=1, checkpoint=other, seed=5)  # the first one is let go
    run(on=replace(machine, _kept=None), epochs=3, until=2, checkpoint=other, seed=5)
    assert len(made) == 3
    messages = run(epochs=3, until=3, checkpoint=other, seed=5)  # what is held is of epoch 1
    assert len(made) == 4 and [m["epoch"] for m in messages if m["type"] == "record"] == [1, 2, 3]
    run(epochs=3, checkpoint=other, seed=5)
    assert len(made) == 5  # what has ended is not held


def test_seeds_differ_and_repeat(run: Run) -> None:
    a, b, c = run(seed=1), run(seed=1), run(seed=2)
    same(a, b)
    assert a[0]["train_loss"] != c[0]["train_loss"]


def test_processes_that_read_pictures_change_nothing(run: Run, machine: training.Machine) -> None:
    same(
        run(config={"data_augmentation": "random_augment"}),
        run(on=replace(machine, loader_workers=2), config={"data_augmentation": "random_augment"}),
    )


def test_a_batch_larger_than_the_data_set_is_the_data_set(run: Run) -> None:
    check(run(config={"batch_size": 512}), 1)
    check(run(config={"batch_size": 512, "mixup": 1.0}), 1)


def test_the_curve_cap_ends_a_curve(run: Run) -> None:
    messages = run(epochs=5, curve_cap=1e-9)
    assert [m["type"] for m in messages] == ["record", "end"]  # the first epoch always counts
    assert messages[-1]["end"] == "time-capped"


def test_a_loss_that_is_not_finite_ends_the_trial(run: Run) -> None:
    *_, end = run(config={"opt": "sgd", "lr": 1000.0, "sp_reg": 1e6}, epochs=3)
    assert end["end"] == "diverged" and "is not finite" in end["reason"]


def test_lack_of_memory_is_an_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> float:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:66] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(training.Trial, "train_epoch", full)
    (end,) = run()
    assert end["end"] == "out-of-memory" and "allocate memory" in end["reason"]


def test_a_bad_configuration_is_an_end(run: Run) -> None:
    (end,) = run(config={"opt": "lion"})
    assert end["end"] == "failed" and "hyperparameter opt is 'lion'" in end["reason"]


def test_missing_pictures_and_models_are_errors(run: Run, machine: training.Machine, tmp_path: Path) -> None:
    (error,) = run(dataset="nowhere")
    assert error["type"] == "error" and "nowhere.json" in error["reason"]
    (error,) = run(model="nonsense_3")
    assert error["type"] == "error" and "no model nonsense_3" in error["reason"]


def test_a_full_disk_costs_the_checkpoint_alone(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    check(run(epochs=2, checkpoint=str(tmp_path / "checkpoint")), 2)
    assert list((tmp_path / "checkpoint").iterdir()) == []


def test_a_clock_that_is_set_back_changes_no_seconds(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    record, end = run()
    assert end["end"] == "completed" and 0 < record["train_seconds"] < 600 and 0 < record["eval_seconds"] < 600


@pytest.mark.parametrize("damage", ["cut", "garbage", "another trial"])
def test_a_checkpoint_that_cannot_be_used_is_left_aside(run: Run, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "checkpoint"
    whole = run(epochs=2, checkpoint=str(folder))
    file = folder / training.CHECKPOINT
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "garbage":
        file.write_bytes(b"garbage")
    else:
        run(epochs=2, checkpoint=str(folder), seed=77)
    same(run(epochs=2, checkpoint=str(folder)), whole)
