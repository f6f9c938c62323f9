#!/usr/bin/env python3
"""Decision times of package baselines beside those of the public implementations.

Each implementation first sees 10, 100 or 1,000 results on the space of
BenchmarkDecision (five hyperparameters, one a category, two whole numbers); the
next 20 proposals are timed, telling their results included. Both sides take
turns, one thread each, and the least mean over the rounds counts.

    python3 scripts/compare_decisions.py --rounds 3

Needs optuna 5.0.0, hyperopt 0.3.0, dehb 0.1.2 and hpbandster 0.7.4.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = "1"

import ConfigSpace as CS
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TIMED = 20
Step = Callable[[], None]


def loss(rate: float, dropout: float, budget: float) -> float:
    return -math.exp(-((math.log10(rate) + 3) ** 2) - dropout) * (1 - math.exp(-budget / 3))


def optuna_tpe() -> Step:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))

    def step() -> None:
        trial = study.ask()
        trial.suggest_categorical("model", ("small", "wide", "deep"))
        rate = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        dropout = trial.suggest_float("dropout", 0, 0.8)
        trial.suggest_int("momentum", 0, 2)
        trial.suggest_int("batch", 4, 64, log=True)
        study.tell(trial, loss(rate, dropout, 9))

    return step


def hyperopt_tpe() -> Step:
    from hyperopt import JOB_STATE_DONE, STATUS_OK, Trials, hp, tpe
    from hyperopt.base import Domain

    space = {
        "model": hp.choice("model", ["small", "wide", "deep"]),
        "lr": hp.loguniform("lr", math.log(1e-5), math.log(1e-1)),
        "dropout": hp.uniform("dropout", 0, 0.8),
        "momentum": hp.uniformint("momentum", 0, 2),
        "batch": hp.qloguniform("batch", math.log(4), math.log(64), 1),
    }
    domain = Domain(lambda _: 0.0, space)
    trials = Trials()

    def step() -> None:
        ids = trials.new_trial_ids(1)
        documents = tpe.suggest(ids, domain, trials, seed=ids[0], verbose=False)
        values = {k: v[0] for k, v in documents[0]["misc"]["vals"].items()}
        documents[0]["state"] = JOB_STATE_DONE
        documents[0]["result"] = {"status": STATUS_OK, "loss": loss(values["lr"], values["dropout"], 9)}
        trials.insert_trial_docs(documents)
        trials.refresh()

    return step


def config_space() -> CS.ConfigurationSpace:
    space = CS.ConfigurationSpace(seed=0)
    space.add(CS.CategoricalHyperparameter("model", ["small", "wide", "deep"]))
    space.add(CS.UniformFloatHyperparameter("lr", 1e-5, 1e-1, log=True))
    space.add(CS.UniformFloatHyperparameter("dropout", 0, 0.8))
    space.add(CS.UniformIntegerHyperparameter("momentum", 0, 2))
    space.add(CS.UniformIntegerHyperparameter("batch", 4, 64, log=True))
    return space


def dehb() -> Step:
    from dehb import DEHB

    optimizer = DEHB(
        cs=config_space(),
        min_fidelity=1,
        max_fidelity=9,
        n_workers=1,
        seed=0,
        output_path=tempfile.mkdtemp(prefix="dehb-"),
        log_level="ERROR",
        save_freq=None,
    )

    def step() -> None:
        job = optimizer.ask()
        value = loss(job["config"]["lr"], job["config"]["dropout"], job["fidelity"])
        optimizer.tell(job, {"fitness": value, "cost": 1.0})

    return step


def bohb() -> Step:
    from hpbandster.optimizers.config_generators.bohb import BOHB

    generator = BOHB(config_space())

    def step() -> None:
        config, _ = generator.get_config(9)
        result = {"loss": loss(config["lr"], config["dropout"], 9)}
        kwargs = {"budget": 9, "config": config}
        generator.new_result(SimpleNamespace(result=result, kwargs=kwargs, exception=None))

    return step


PUBLIC: dict[str, tuple[str, Callable[[], Step]]] = {
    "tpe": ("Optuna 5.0.0", optuna_tpe),
    "tpe-hyperopt": ("hyperopt 0.3.0", hyperopt_tpe),
    "dehb": ("DEHB 0.1.2", dehb),
    "bohb": ("HpBandSter 0.7.4", bohb),
}


def public_time(make: Callable[[], Step], seen: int) -> float:
    """Mean seconds of a decision."""
    step = make()
    for _ in range(seen):
        step()
    start = time.perf_counter()
    for _ in range(TIMED):
        step()
    return (time.perf_counter() - start) / TIMED


def own_time(binary: str, method: str, seen: int) -> float:
    pattern = f"^BenchmarkDecision$/^{re.escape(method)}$/^{seen}$"
    command = [binary, "-test.run", "^$", "-test.bench", pattern, "-test.benchtime", "5x", "-test.cpu", "1"]
    out = subprocess.run(command, cwd=ROOT / "baselines", check=True, capture_output=True, text=True).stdout
    found = re.search(r"([\d.e+]+) ns/decision", out)
    if found is None:
        raise SystemExit(f"no time of {method} in: {out}")
    return float(found.group(1)) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", default=",".join(PUBLIC))
    parser.add_argument("--seen", default="10,100,1000")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    np.random.seed(0)
    with tempfile.TemporaryDirectory() as folder:
        binary = f"{folder}/baselines.test"
        subprocess.run(["go", "test", "-c", "-o", binary, "./baselines"], cwd=ROOT, check=True)
        print("| method | results seen | ours | public | times faster |\n|---|---|---|---|---|")
        for method in options.methods.split(","):
            name, make = PUBLIC[method]
            for seen in map(int, options.seen.split(",")):
                ours, theirs = [], []
                for _ in range(options.rounds):
                    ours.append(own_time(binary, method, seen))
                    theirs.append(public_time(make, seen))
                mine, other = min(ours), min(theirs)
                print(
                    f"| {method} | {seen} | {mine * 1e3:.3f} ms | {name} {other * 1e3:.3f} ms | {other / mine:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
