#!/usr/bin/env python3
"""Final regrets of public implementations on a table that package baselines searches too.

Writes baselines/testdata/final_regrets.json: for each method the normalised
regret after 100 jobs (TPE: after 60 whole curves) with 30 seeds. The table is
the full grid of two whole numbers and a category, so that every point of the
space is a row; its scores come from a formula that the Go test repeats.

    python3 scripts/oracles/final_regrets.py

Needs optuna 5.0.0, hyperopt 0.3.0, dehb 0.1.2 and hpbandster 0.7.4.
"""

from __future__ import annotations

import json
import logging
import math
import os
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = "1"

import ConfigSpace as CS
import numpy as np

OUT = Path(__file__).resolve().parents[2] / "baselines" / "testdata" / "final_regrets.json"
SEEDS = 30
EPOCHS = 9
JOBS = 100
CURVES = 60
FACTORS = (0.7, 0.5, 1.0, 0.6, 0.9, 0.8)


def score(a: float, b: float, c: float, epoch: float) -> float:
    quality = math.exp(-(((a - 8) / 4) ** 2) - ((b - 2) / 3) ** 2) * FACTORS[int(c)]
    return quality * (1 - math.exp(-epoch / 3))


def regret(best: float) -> float:
    top = score(8, 2, 2, EPOCHS)
    worst = min(score(a, b, 1, 1) for a in range(12) for b in range(8))
    return (top - best) / (top - worst)


def optuna_tpe(seed: int) -> float:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(CURVES):
        trial = study.ask()
        a, b = trial.suggest_int("a", 0, 11), trial.suggest_int("b", 0, 7)
        study.tell(trial, score(a, b, trial.suggest_categorical("c", range(6)), EPOCHS))
    return regret(study.best_value)


def hyperopt_tpe(seed: int) -> float:
    from hyperopt import Trials, fmin, hp, tpe

    space = [hp.uniformint("a", 0, 11), hp.uniformint("b", 0, 7), hp.choice("c", range(6))]
    trials = Trials()
    fmin(
        lambda x: -score(*x, EPOCHS),
        space,
        tpe.suggest,
        CURVES,
        trials=trials,
        rstate=np.random.default_rng(seed),
        show_progressbar=False,
        verbose=False,
    )
    return regret(-min(trials.losses()))


def config_space(seed: int) -> CS.ConfigurationSpace:
    space = CS.ConfigurationSpace(seed=seed)
    space.add(CS.UniformIntegerHyperparameter("a", 0, 11))
    space.add(CS.UniformIntegerHyperparameter("b", 0, 7))
    space.add(CS.CategoricalHyperparameter("c", list(range(6))))
    return space


def dehb(seed: int) -> float:
    from dehb import DEHB

    with tempfile.TemporaryDirectory() as folder:
        optimizer = DEHB(
            cs=config_space(seed),
            min_fidelity=1,
            max_fidelity=EPOCHS,
            n_workers=1,
            seed=seed,
            output_path=folder,
            log_level="ERROR",
            save_freq=None,
        )
        best = -math.inf
        for _ in range(JOBS):
            job = optimizer.ask()
            value = score(job["config"]["a"], job["config"]["b"], job["config"]["c"], round(job["fidelity"]))
            best = max(best, value)
            optimizer.tell(job, {"fitness": -value, "cost": 1.0})
    return regret(best)


def bohb(seed: int) -> float:
    """The config generator in Hyperband's brackets as HpBandSter runs them with one worker."""
    from hpbandster.optimizers.config_generators.bohb import BOHB

    np.random.seed(seed)
    generator = BOHB(config_space(seed))
    best, jobs, iteration = -math.inf, 0, 0

    def run(config: dict[str, Any], budget: int) -> float:
        value = score(config["a"], config["b"], config["c"], budget)
        kwargs = {"budget": budget, "config": config}
        generator.new_result(SimpleNamespace(result={"loss": -value}, kwargs=kwargs, exception=None))
        return value

    while True:
        s = 2 - iteration % 3
        iteration += 1
        sizes = [3 // (s + 1) * 3 ** (s - i) for i in range(s + 1)]
        configs: list[dict[str, Any]] = []
        values: list[float] = []
        for rung, size in enumerate(sizes):
            budget = 3 ** (2 - s + rung)
            if rung > 0:
                order = np.argsort([-v for v in values], kind="stable")[:size]
                configs = [configs[i] for i in sorted(order)]
            values = []
            for i in range(size):
                if rung == 0:
                    configs.append(generator.get_config(budget)[0])
                values.append(run(configs[i], budget))
                best = max(best, values[-1])
                jobs += 1
                if jobs == JOBS:
                    return regret(best)


METHODS = {"tpe": optuna_tpe, "dehb": dehb, "tpe-hyperopt": hyperopt_tpe, "bohb": bohb}


def run(method: str, seed: int) -> float:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    return round(METHODS[method](seed), 5)


def main() -> None:
    with ProcessPoolExecutor(8) as pool:
        jobs = {name: [pool.submit(run, name, seed) for seed in range(SEEDS)] for name in METHODS}
        found = {}
        for name, started in jobs.items():
            found[name] = [job.result() for job in started]
            OUT.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
