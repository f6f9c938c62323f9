#!/usr/bin/env python3
"""Decision times of GP-BO and SMAC beside syne-tune's and SMAC3's.

Each implementation is given 10, 100 or 1,000 results on the space of package
searchtest (six hyperparameters); the next proposals are timed, telling their
results included. Both sides take turns, one thread each, and the least mean over
the rounds counts. GP-BO and its counterpart choose among 2,000 configurations;
SMAC3 searches its space by 10,000 random challengers and a local search.

    python3 scripts/compare_surrogates.py --rounds 3
    python3 scripts/compare_surrogates.py --rounds 1 --seen 10,100

Needs smac 2.4.1 and syne-tune[gpsearchers] 0.13.0.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import math
import os
import re
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TIMED = 8
Config = dict[str, Any]


def score(config: Config) -> float:
    return math.exp(-(((math.log10(config["lr"]) + 3) / 2) ** 2))


def sample(rng: np.random.Generator) -> Config:
    return {
        "model": str(rng.choice(["small", "wide", "deep"])),
        "lr": float(10 ** rng.uniform(-5, -1)),
        "opt": str(rng.choice(["sgd", "adamw"])),
        "momentum": int(rng.integers(3)),
        "warmup": int(rng.integers(11)),
        "clip": str(rng.choice(["None", "1", "10"])),
    }


def syne_tune(seen: int) -> float:
    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import choice, loguniform, randint
    from syne_tune.optimizer.baselines import BayesianOptimization

    rng = np.random.default_rng(0)
    pool = [sample(rng) for _ in range(2000)]
    scheduler = BayesianOptimization(
        config_space={
            "model": choice(["small", "wide", "deep"]),
            "lr": loguniform(1e-5, 1e-1),
            "opt": choice(["sgd", "adamw"]),
            "momentum": randint(0, 2),
            "warmup": randint(0, 10),
            "clip": choice(["None", "1", "10"]),
        },
        metric="value",
        mode="max",
        random_seed=0,
        points_to_evaluate=[],
        search_options={"restrict_configurations": pool, "debug_log": False},
    )

    def tell(number: int, config: Config) -> None:
        trial = Trial(trial_id=number, config=config, creation_time=datetime.datetime(2026, 1, 1))
        scheduler.on_trial_add(trial)
        scheduler.on_trial_complete(trial, {"value": score(config)})

    for number in range(seen):
        tell(number, pool[number])
    # Beyond 150 results its fits take seconds to minutes: two decisions tell enough.
    timed = TIMED if seen <= 100 else 2
    start = time.perf_counter()
    for number in range(seen, seen + timed):
        tell(number, scheduler.suggest(number).config)
    return (time.perf_counter() - start) / timed


def smac3(seen: int) -> float:
    from ConfigSpace import Categorical, Configuration, ConfigurationSpace, Float, Integer
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.runhistory.dataclasses import TrialInfo, TrialValue

    space = ConfigurationSpace(
        space=[
            Categorical("model", ["small", "wide", "deep"]),
            Float("lr", (1e-5, 1e-1), log=True),
            Categorical("opt", ["sgd", "adamw"]),
            Integer("momentum", (0, 2)),
            Integer("warmup", (0, 10)),
            Categorical("clip", ["None", "1", "10"]),
        ],
        seed=0,
    )
    scenario = Scenario(
        space, deterministic=True, n_trials=10**6, output_directory=Path(tempfile.mkdtemp(prefix="smac-")), seed=0
    )
    design = HyperparameterOptimizationFacade.get_initial_design(scenario, n_configs=1)
    smac = HyperparameterOptimizationFacade(
        scenario, lambda config, seed: 0.0, initial_design=design, overwrite=True, logging_level=False
    )
    rng = np.random.default_rng(0)
    for _ in range(seen):
        values = sample(rng)
        smac.tell(TrialInfo(Configuration(space, values=values), seed=0), TrialValue(cost=-score(values)))
    smac.ask()
    start = time.perf_counter()
    for _ in range(TIMED):
        info = smac.ask()
        smac.tell(info, TrialValue(cost=-score(dict(info.config))))
    return (time.perf_counter() - start) / TIMED


PUBLIC = {"gp-bo": ("syne-tune 0.13.0", "GPBO", syne_tune), "smac": ("SMAC3 2.4.1", "SMAC", smac3)}


def own_times(names: list[str], seen: list[int]) -> dict[tuple[str, int], float]:
    """Mean seconds of a decision, by method and results seen."""
    pattern = "^Benchmark(" + "|".join(PUBLIC[n][1] for n in names) + ")Decision$/^(" + "|".join(map(str, seen)) + ")$"
    command = ["go", "test", "-run=^$", f"-bench={pattern}", "-benchtime=2x", "-cpu=1", "./baselines"]
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = {}
    for line in out.splitlines():
        if m := re.match(r"Benchmark(\w+)Decision/(\d+)\s.*?([\d.]+) ns/decision", line):
            name = next(n for n in names if PUBLIC[n][1] == m[1])
            found[name, int(m[2])] = float(m[3]) / 1e9
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seen", default="10,100,1000")
    parser.add_argument("--methods", default=",".join(PUBLIC))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    seen = [int(s) for s in arguments.seen.split(",")]
    names = arguments.methods.split(",")
    own: dict[tuple[str, int], float] = {}
    public: dict[tuple[str, int], float] = {}
    for _ in range(arguments.rounds):
        for key, seconds in own_times(names, seen).items():
            own[key] = min(seconds, own.get(key, math.inf))
        for name in names:
            for n in seen:
                public[name, n] = min(PUBLIC[name][2](n), public.get((name, n), math.inf))
    print(f"{'method':8} {'results':>7} {'here':>12} {'public':>12} {'ratio':>8}")
    for (name, n), seconds in sorted(own.items()):
        theirs = public[name, n]
        times = f"{seconds * 1e3:9.2f} ms {theirs * 1e3:9.1f} ms {theirs / seconds:7.0f}x"
        print(f"{name:8} {n:7d} {times}  {PUBLIC[name][0]}")


if __name__ == "__main__":
    main()
