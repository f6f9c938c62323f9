#!/usr/bin/env python3
"""Golden values of Optuna's pruners and of its TPE sampler for package baselines.

Writes baselines/testdata/optuna_pruners.json and optuna_tpe.json.

Pruners: trials report curves of random numbers one after the other, and the
file says after how many epochs the pruner stopped each. TPE: the kernels of
both mixtures and the log-ratio of their densities at every point of a grid,
from the estimators that the sampler itself builds of a list of trials.

    python3 scripts/oracles/optuna_methods.py

Needs optuna 5.0.0, which the golden files were made with.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.trial import FrozenTrial, TrialState, create_trial

# numpy's default sort leaves the order of equal numbers open, and it differs by
# machine; here they keep theirs.
np.argsort = functools.partial(np.argsort, kind="stable")

TESTDATA = Path(__file__).resolve().parents[2] / "baselines" / "testdata"

PRUNERS: list[dict[str, Any]] = [
    {"percentile": 50.0, "startup": 5, "warmup": 0, "interval": 1, "min_trials": 1},
    {"percentile": 25.0, "startup": 5, "warmup": 0, "interval": 1, "min_trials": 1},
    {"percentile": 50.0, "startup": 2, "warmup": 3, "interval": 4, "min_trials": 3},
    {"percentile": 90.0, "startup": 3, "warmup": 1, "interval": 2, "min_trials": 2},
]

SPACE: dict[str, BaseDistribution] = {
    "model": CategoricalDistribution(("small", "wide", "deep")),
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "dropout": FloatDistribution(0.0, 0.8),
    "momentum": IntDistribution(0, 2),
    "batch": IntDistribution(4, 64, log=True),
}


def pruned_epochs(case: dict[str, Any], curves: list[list[float]]) -> list[int]:
    """Epochs that each trial was trained for."""
    pruner = optuna.pruners.PercentilePruner(
        case["percentile"],
        n_startup_trials=case["startup"],
        n_warmup_steps=case["warmup"],
        interval_steps=case["interval"],
        n_min_trials=case["min_trials"],
    )
    study = optuna.create_study(direction="maximize", pruner=pruner)
    epochs = []
    for curve in curves:
        trial = study.ask()
        state = TrialState.COMPLETE
        reached = 0
        for step, score in enumerate(curve):
            trial.report(score, step)
            reached = step + 1
            # A trial that has no further epoch is complete, whatever the pruner says.
            if reached < len(curve) and trial.should_prune():
                state = TrialState.PRUNED
                break
        study.tell(trial, curve[-1] if state == TrialState.COMPLETE else None, state=state)
        epochs.append(reached)
    return epochs


def write_pruners() -> None:
    rng = np.random.default_rng(7)
    final = rng.uniform(0, 1, (40, 1))
    curves = (final * (1 - np.exp(-np.arange(1, 13) / 5)) + rng.normal(0, 0.05, (40, 12))).round(6)
    curves[5, 3] = curves[9, 0] = np.nan
    listed = [[None if math.isnan(v) else v for v in curve] for curve in curves.tolist()]
    cases = [{**case, "epochs": pruned_epochs(case, curves.tolist())} for case in PRUNERS]
    (TESTDATA / "optuna_pruners.json").write_text(json.dumps({"curves": listed, "cases": cases}) + "\n")


def internal(params: dict[str, Any]) -> list[float]:
    """A point as numbers: categories by position, all others as they are."""
    return [float(SPACE[name].to_internal_repr(params[name])) for name in SPACE]


def draw(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "model": ("small", "wide", "deep")[rng.integers(3)],
        "lr": float(10 ** rng.uniform(-5, -1)),
        "dropout": float(rng.uniform(0, 0.8)),
        "momentum": int(rng.integers(0, 3)),
        "batch": int(rng.integers(4, 65)),
    }


def tpe_case(finished: int, running: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    study = optuna.create_study(direction="maximize")
    sampler = TPESampler(seed=0)
    trials: list[FrozenTrial] = []
    for number in range(finished + running):
        params = draw(rng)
        value = round(float(rng.uniform()), 3)
        done = number < finished
        trial = create_trial(
            state=TrialState.COMPLETE if done else TrialState.RUNNING,
            params=params,
            distributions=SPACE,
            value=value if done else None,
        )
        trial.number = number
        trials.append(trial)
    below, above = _split_trials(study, trials, default_gamma(finished))
    good = sampler._build_parzen_estimator(study, SPACE, below, handle_below=True)
    bad = sampler._build_parzen_estimator(study, SPACE, above, handle_below=False)
    points = [draw(rng) for _ in range(30)]
    samples = {name: np.array([internal(p)[k] for p in points]) for k, name in enumerate(SPACE)}
    return {
        "trials": [internal(t.params) for t in trials],
        "values": [t.value for t in trials[:finished]],
        "below": [t.number for t in below],
        "points": [internal(p) for p in points],
        "log_good": good.log_pdf(samples).tolist(),
        "log_bad": bad.log_pdf(samples).tolist(),
    }


def write_tpe() -> None:
    cases = [tpe_case(n, running, 100 + n) for n, running in ((3, 0), (10, 0), (24, 1), (40, 2), (120, 3))]
    (TESTDATA / "optuna_tpe.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    write_pruners()
    write_tpe()


if __name__ == "__main__":
    main()
