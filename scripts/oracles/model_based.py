#!/usr/bin/env python3
"""Golden values of SMAC3's model and final scores of SMAC3 and syne-tune on a shared table, for package baselines.

Writes baselines/testdata/smac.json: responses after the logarithmic scaling,
expected improvements under logarithmic costs, a forest without bootstrap with
its predictions, and leaves of bootstrapped trees with what they predict.

With --regret it also writes baselines/testdata/model_based_regret.json: the best
value that each of 30 seeds finds on a table of 200 rows. The forest, the response
and the acquisition are SMAC3's, in the loop of its configuration selector with
all unseen rows as challengers; GP-BO is syne-tune's searcher restricted to the
rows, asked and told one at a time.

    python3 scripts/oracles/model_based.py
    python3 scripts/oracles/model_based.py --regret

Needs smac 2.4.1 and syne-tune[gpsearchers] 0.13.0.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import os
from pathlib import Path
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
from ConfigSpace import ConfigurationSpace, Float
from numpy.typing import NDArray
from smac.acquisition.function import EI
from smac.model.random_forest.random_forest import EPMRandomForest, RandomForest
from smac.runhistory.encoder import RunHistoryLogScaledEncoder
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import uniform
from syne_tune.optimizer.baselines import BayesianOptimization

TESTDATA = Path(__file__).resolve().parent.parent.parent / "baselines" / "testdata"
Floats = NDArray[np.float64]
ROWS, DIMENSIONS, TRIALS, SEEDS = 200, 4, 30, 30


def table() -> tuple[Floats, Floats]:
    """A table that the Go test repeats: rows by a Weyl sequence, values of one broad and one high peak."""
    steps = np.sqrt([2.0, 3.0, 5.0, 7.0])
    x = np.mod(np.arange(1, ROWS + 1)[:, None] * steps[None, :], 1.0)
    weight = np.array([3.0, 2.0, 1.0, 0.2])
    broad = 0.6 * np.exp(-(weight * (x - 0.35) ** 2).sum(1))
    high = 0.4 * np.exp(-8 * (weight * (x - 0.7) ** 2).sum(1))
    return x, broad + high


def log_scaled(costs: Floats) -> Floats:
    encoder = object.__new__(RunHistoryLogScaledEncoder)
    encoder._min_y, encoder._max_y = np.array([costs.min()]), np.array([costs.max()])
    encoder._percentile = np.percentile(costs, 5, axis=0, keepdims=True)
    return np.asarray(encoder.transform_response_values(costs[:, None])).flatten()


class Fixed:
    """A model of given means and variances."""

    def __init__(self, mean: float, variance: float) -> None:
        self.answer = np.array([[mean]]), np.array([[variance]])

    def predict_marginalized(self, x: Floats) -> tuple[Floats, Floats]:
        return self.answer


def log_ei(model: Any, eta: float, x: Floats) -> Floats:
    acquisition = EI(xi=0.0, log=True)
    acquisition._model, acquisition._eta = model, eta
    return np.asarray(acquisition._compute(x)).flatten()


def space() -> ConfigurationSpace:
    return ConfigurationSpace(space=[Float(f"x{j}", (0.0, 1.0)) for j in range(DIMENSIONS)])


def forest(seed: int) -> RandomForest:
    """The forest of the hyperparameter-optimisation facade."""
    return RandomForest(
        space(),
        log_y=True,
        n_trees=10,
        ratio_features=1.0,
        min_samples_split=2,
        min_samples_leaf=1,
        max_depth=2**20,
        bootstrapping=True,
        seed=seed,
        n_jobs=1,
    )


def golden() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    responses = []
    for n in (1, 2, 7, 40):
        costs = rng.uniform(size=n)
        responses.append({"costs": costs.tolist(), "responses": log_scaled(costs).tolist()})
    improvements = []
    for _ in range(20):
        mean, std, best = rng.uniform(-4, 0), rng.uniform(0.01, 1), rng.uniform(-4, 0)
        value = float(log_ei(Fixed(mean, std**2), best, np.zeros((1, 1)))[0])
        improvements.append({"mean": mean, "std": std, "best": best, "value": value})

    # Rows come in threes that differ in nothing, so that leaves hold several values.
    x = np.repeat(rng.uniform(size=(12, 3)).astype(np.float32).astype(np.float64), 3, axis=0)
    y = np.log(rng.uniform(0.05, 1, size=len(x)))
    whole = EPMRandomForest(n_estimators=10, log_y=True, bootstrap=False, random_state=0, n_jobs=1)
    whole.fit(x, y)
    mean, variance = whole.predict(x)
    drawn = EPMRandomForest(n_estimators=10, log_y=True, bootstrap=True, random_state=0, n_jobs=1)
    drawn.fit(x, y)
    leaves, queries = [], x[::3]
    for q in queries:
        per_tree = []
        for tree, sample in zip(drawn.estimators_, drawn.estimators_samples_, strict=True):
            own = tree.apply(x[sample].astype(np.float32))
            per_tree.append(y[sample][own == tree.apply(q[None].astype(np.float32))[0]].tolist())
        leaves.append(per_tree)
    drawn_mean, drawn_variance = drawn.predict(queries)
    return {
        "responses": responses,
        "improvements": improvements,
        "forest": {
            "x": x.tolist(),
            "y": y.tolist(),
            "mean": mean.flatten().tolist(),
            "variance": variance.flatten().tolist(),
        },
        "leaves": {
            "targets": leaves,
            "mean": drawn_mean.flatten().tolist(),
            "variance": drawn_variance.flatten().tolist(),
        },
    }


def run_smac(seed: int, x: Floats, y: Floats) -> float:
    """The configuration selector: a quarter of the trials random, then eight a forest, one in five random."""
    rng = np.random.default_rng(seed)
    unseen, known = list(rng.permutation(len(x))), []
    for _ in range(TRIALS // 4):
        known.append(unseen.pop())
    model: RandomForest | None = None
    since, eta = 8, 0.0
    while len(known) < TRIALS:
        if since == 8:
            model = forest(int(rng.integers(2**31)))
            model.train(x[known], log_scaled(-y[known])[:, None])
            eta = float(model.predict_marginalized(x[known])[0].min())
            since = 0
        since += 1
        if rng.uniform() < 0.2:
            choice = int(rng.integers(len(unseen)))
        else:
            value = log_ei(model, eta, x[unseen])
            choice = int(rng.choice(np.flatnonzero(value == value.max())))
        known.append(unseen.pop(choice))
    return float(y[known].max())


def run_gp(seed: int, x: Floats, y: Floats) -> float:
    rows = [{f"x{j}": float(v) for j, v in enumerate(r)} for r in x]
    value = {tuple(r.values()): float(v) for r, v in zip(rows, y, strict=True)}
    scheduler = BayesianOptimization(
        config_space={f"x{j}": uniform(0.0, 1.0) for j in range(DIMENSIONS)},
        metric="value",
        mode="max",
        random_seed=seed,
        points_to_evaluate=[],
        search_options={"restrict_configurations": rows, "debug_log": False},
    )
    best = -np.inf
    for number in range(TRIALS):
        config = scheduler.suggest(number).config
        trial = Trial(trial_id=number, config=config, creation_time=datetime.datetime.now())
        scheduler.on_trial_add(trial)
        score = value[tuple(config[f"x{j}"] for j in range(DIMENSIONS))]
        scheduler.on_trial_complete(trial, {"value": score})
        best = max(best, score)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--regret", action="store_true", help="write the final scores, too: minutes")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    TESTDATA.joinpath("smac.json").write_text(json.dumps(golden(), separators=(",", ":")) + "\n")
    if not arguments.regret:
        return
    x, y = table()
    result = {"trials": TRIALS, "values": y[:5].tolist(), "largest": float(y.max())}
    for name, run in (("smac", run_smac), ("gp-bo", run_gp)):
        result[name] = [run(seed, x, y) for seed in range(SEEDS)]
    TESTDATA.joinpath("model_based_regret.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
