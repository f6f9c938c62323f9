#!/usr/bin/env python3
"""Golden values of scikit-learn's trees for package internal/trees, and a race against them.

Without arguments: write internal/trees/testdata/{boosting,cart}.json. The
tables of the cases come from a formula that the Go tests repeat, so the files
hold targets, settings, trees and predictions only.

With --time: fit random tables and predict their rows in both, one thread each,
taking turns, and print the least processor time of each over the rounds with
the largest difference between predictions of the two boosted ensembles.

    python3 scripts/oracles/trees.py
    python3 scripts/oracles/trees.py --time --rounds 3

Needs scikit-learn 1.9.1, which the golden files were made with, and numpy.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeRegressor

ROOT = Path(__file__).resolve().parent.parent.parent
TESTDATA = ROOT / "internal" / "trees" / "testdata"
MASK = (1 << 64) - 1
Floats = NDArray[np.float64]


@dataclass
class Column:
    """One column of a table: how its values follow from uniform numbers."""

    kind: str  # uniform, levels, constant, skewed, copy
    levels: int = 0  # levels: how many; copy: of which column
    missing: float = 0.0  # part of the values that is NaN


@dataclass
class Table:
    """A table by formula. Row r, column c draws numbers 2(r cols + c) and the next of the stream."""

    name: str
    seed: int
    rows: int
    columns: list[Column]
    weighted: bool = False
    y: list[float] = field(default_factory=list)


def uniform(seed: int, index: int) -> float:
    """Number of that index in the stream of splitmix64, a multiple of 2^-20 in [0, 1)."""
    z = (seed * 0x9E3779B97F4A7C15 + (index + 1) * 0xD1342543DE82EF95) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    z ^= z >> 31
    return (z >> 44) / (1 << 20)


def matrix(table: Table, first: int, rows: int) -> Floats:
    """Rows first to first+rows of the table."""
    x = np.empty((rows, len(table.columns)))
    for r in range(rows):
        for c, column in enumerate(table.columns):
            at = 2 * ((first + r) * len(table.columns) + c)
            u, gone = uniform(table.seed, at), uniform(table.seed, at + 1)
            if column.kind == "uniform":
                x[r, c] = u
            elif column.kind == "levels":
                x[r, c] = math.floor(u * column.levels)
            elif column.kind == "constant":
                x[r, c] = 3.5
            elif column.kind == "skewed":
                x[r, c] = 0.0 if u < 0.25 else math.floor(u * u * u * 4000)
            elif column.kind == "copy":
                x[r, c] = x[r, column.levels]
            if gone < column.missing:
                x[r, c] = math.nan
    return x


def weights(table: Table) -> Floats | None:
    """Weights of the rows, a few of them 0."""
    if not table.weighted:
        return None
    draws = [uniform(table.seed + 1000, r) for r in range(table.rows)]
    return np.array([0.0 if u < 0.05 else 3 * u for u in draws])


def target(table: Table, x: Floats) -> list[float]:
    """Targets that depend on every column, on what is missing, and on noise."""
    y = np.zeros(len(x))
    for c in range(len(table.columns)):
        v = x[:, c] / max(1.0, float(np.nanmax(np.abs(x[:, c]))))
        y += np.where(np.isnan(v), 0.4 * (c % 3), np.sin(5 * v + c) + v * v)
    if x.shape[1] > 1:
        y += np.where(x[:, 0] > np.nan_to_num(x[:, 1]), 0.7, 0)
    y += [0.3 * uniform(table.seed + 2000, r) for r in range(len(x))]
    return [round(float(v), 6) for v in y]


def boosting_tables() -> list[Table]:
    mixed = [
        Column("uniform"),
        Column("levels", 5),
        Column("constant"),
        Column("copy", 0),
        Column("uniform", missing=0.3),
        Column("levels", 7, missing=0.5),
        Column("skewed"),
    ]
    return [
        Table("mixed", 1, 700, mixed),
        Table("small", 2, 70, [Column("uniform"), Column("levels", 9), Column("uniform")]),
        Table("single column", 3, 300, [Column("uniform")]),
        Table(
            "few values", 4, 500, [Column("levels", 2), Column("levels", 3), Column("levels", 4), Column("levels", 11)]
        ),
        Table(
            "many values",
            5,
            1500,
            [Column("uniform"), Column("skewed"), Column("uniform"), Column("skewed", missing=0.1)],
        ),
        Table(
            "missing",
            6,
            400,
            [Column("uniform", missing=0.8), Column("uniform", missing=0.5), Column("levels", 2, missing=0.4)],
        ),
        Table("weights", 7, 700, mixed, weighted=True),
        Table("weights, many values", 8, 900, [Column("uniform"), Column("skewed", missing=0.2)], weighted=True),
    ]


PLAIN: list[dict[str, Any]] = [
    {"max_iter": 1},
    {"max_iter": 5},
    {"max_iter": 50},
    {"max_iter": 50, "learning_rate": 0.06, "l2_regularization": 1.0},
]
OTHER: list[dict[str, Any]] = [
    {"max_iter": 10, "max_depth": 3},
    {"max_iter": 10, "max_leaf_nodes": 5},
    {"max_iter": 10, "max_leaf_nodes": None, "min_samples_leaf": 5},
    {"max_iter": 10, "max_bins": 16},
    # Few leaves: equal gradients leave only rounding to split on in larger trees.
    {"max_iter": 10, "max_leaf_nodes": 6, "loss": "absolute_error"},
    {"max_iter": 10, "max_leaf_nodes": 6, "loss": "quantile", "quantile": 0.85},
    {"max_iter": 10, "max_leaf_nodes": 6, "loss": "logistic"},
]


def nodes(predictor: Any) -> list[list[float | int]]:
    """Preorder: [feature, threshold, missing left, rows] of a split, [value, rows] of a leaf."""
    out: list[list[float | int]] = []
    for n in predictor.nodes:
        if n["is_leaf"]:
            out.append([float(n["value"]), int(n["count"])])
        else:
            threshold = min(float(n["num_threshold"]), 1e308)  # JSON has no infinity
            out.append([int(n["feature_idx"]), threshold, int(n["missing_go_to_left"]), int(n["count"])])
    return out


def boosting() -> dict[str, Any]:
    cases = []
    tables = boosting_tables()
    for table in tables:
        x, w = matrix(table, 0, table.rows), weights(table)
        fresh = matrix(table, table.rows, 40)
        table.y = target(table, x)
        for settings in PLAIN + (OTHER if table.name in ("mixed", "weights") else []):
            threshold = float(np.median(table.y))
            if settings.get("loss") == "logistic":
                rest = {k: v for k, v in settings.items() if k != "loss"}
                model = HistGradientBoostingClassifier(early_stopping=False, **rest)
                model.fit(x, np.array(table.y) > threshold, sample_weight=w)
                predictions = model.decision_function(fresh)
            else:
                model = HistGradientBoostingRegressor(early_stopping=False, **settings)
                model.fit(x, table.y, sample_weight=w)
                predictions = model.predict(fresh)
            trees = [nodes(t[0]) for t in model._predictors]
            cases.append(
                {
                    "table": table.name,
                    "settings": settings,
                    "threshold": threshold,
                    "base": float(model._baseline_prediction[0, 0]),
                    "splits": [sum(len(n) == 4 for n in t) for t in trees],
                    "last": trees[-1],
                    "predictions": [float(p) for p in predictions],
                }
            )
    return {"tables": [asdict(t) for t in tables], "cases": cases}


def cart() -> dict[str, Any]:
    """Single trees that do not depend on the order in which scikit-learn tries the features."""
    columns = [Column("uniform"), Column("uniform"), Column("uniform"), Column("levels", 40)]
    gaps = [Column("uniform", missing=0.3), Column("uniform"), Column("uniform", missing=0.6)]
    tables = [
        Table("plain", 11, 300, columns),
        Table("missing", 12, 300, gaps),
        Table("weights", 13, 300, columns, weighted=True),
    ]
    options: list[dict[str, Any]] = [
        {"max_depth": 4, "min_samples_leaf": 12},
        {"min_samples_leaf": 9},
        {"min_samples_split": 30, "min_samples_leaf": 3},
    ]
    cases = []
    for table in tables:
        x, w = matrix(table, 0, table.rows), weights(table)
        fresh = matrix(table, table.rows, 60)
        table.y = target(table, x)
        for option in options:
            models = [
                DecisionTreeRegressor(random_state=s, **option).fit(x, table.y, sample_weight=w) for s in range(5)
            ]
            first, *others = [m.predict(fresh) for m in models]
            if any(not np.allclose(first, o, rtol=0, atol=1e-9) for o in others):
                raise SystemExit(f"{table.name} {option}: a tie; choose another seed")
            tree = models[0].tree_
            cases.append(
                {
                    "table": table.name,
                    "settings": option,
                    "splits": int((tree.feature >= 0).sum()),
                    "predictions": [float(p) for p in first],
                }
            )
    return {"tables": [asdict(t) for t in tables], "cases": cases}


def write(name: str, content: dict[str, Any]) -> None:
    path = TESTDATA / name
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")
    print(f"{path.relative_to(ROOT)}: {len(content['cases'])} cases, {path.stat().st_size} bytes")


@dataclass
class Race:
    """A fit to time: settings are rate and L2 of boosting, part of features and rows a leaf of a forest."""

    kind: str
    rows: int
    cols: int
    count: int
    settings: tuple[float, float]
    dense: bool = False  # continuous columns only


RACES = [
    Race("boosting", 3_000, 75, 300, (0.06, 1.0)),
    Race("boosting", 3_000, 75, 300, (0.06, 1.0), dense=True),
    Race("boosting", 85_000, 90, 300, (0.06, 1.0)),
    Race("boosting", 85_000, 90, 300, (0.06, 1.0), dense=True),
    Race("forest", 200, 75, 10, (5 / 6, 1)),
    Race("forest", 1_000, 75, 10, (5 / 6, 1)),
]


def encoded(race: Race) -> tuple[Floats, Floats]:
    """Half of the columns one-hot in groups of 3 to 24, then conditional, few-valued and continuous ones."""
    rng = np.random.default_rng(race.rows + race.cols)
    x = rng.normal(size=(race.rows, race.cols))
    y = 0.1 * rng.normal(size=race.rows)
    c = 0
    for width in () if race.dense else (24, 5, 5, 4, 3):
        level = rng.integers(0, width, race.rows)
        x[:, c : c + width] = level[:, None] == np.arange(width)
        y += np.sin(level)
        c += width
    for k in range(c, race.cols):
        if not race.dense and k % 4 == 0:
            x[rng.random(race.rows) < 0.7, k] = np.nan
        if not race.dense and k % 4 in (1, 2):
            x[:, k] = rng.integers(0, 8, race.rows)
        y += np.where(np.isnan(x[:, k]), 0.3, np.tanh(x[:, k])) * (k % 7) / 7
    return x, y + np.nan_to_num(x[:, -1] * x[:, -2])


def peer(race: Race, x: Floats, y: Floats) -> tuple[float, float, Floats]:
    """Seconds of processor time that scikit-learn takes to fit and to predict, and what it predicts."""
    first, second = race.settings
    model: Any
    if race.kind == "boosting":
        model = HistGradientBoostingRegressor(
            max_iter=race.count, learning_rate=first, l2_regularization=second, early_stopping=False
        )
    else:
        model = RandomForestRegressor(race.count, max_features=first, min_samples_leaf=int(second), n_jobs=1)
    start = time.process_time()
    model.fit(x, y)
    fitted = time.process_time()
    predictions = model.predict(x)
    return fitted - start, time.process_time() - fitted, predictions


def race_all(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        binary = Path(directory) / "timetrees"
        subprocess.run(["go", "build", "-o", str(binary), "./internal/trees/timetrees"], cwd=ROOT, check=True)
        print("Seconds of processor time, least of", rounds, "rounds: scikit-learn, ours, ratio")
        for race in RACES:
            x, y = encoded(race)
            table = Path(directory) / "table"
            table.write_bytes(x.astype("<f8").tobytes() + y.astype("<f8").tobytes())
            first, second = race.settings
            request = f"{race.kind} {table} {race.rows} {race.cols} {race.count} {first} {second}\n"
            theirs, ours = [math.inf, math.inf], [math.inf, math.inf]
            apart = 0.0
            for _ in range(rounds):
                fit, predict, wanted = peer(race, x, y)
                theirs = [min(theirs[0], fit), min(theirs[1], predict)]
                answer = subprocess.run([str(binary)], input=request, capture_output=True, text=True, check=True).stdout
                ours = [min(a, float(b)) for a, b in zip(ours, answer.split(), strict=True)]
                got = np.frombuffer(Path(f"{table}.out").read_bytes(), "<f8")
                apart = max(apart, float(np.abs(got - wanted).max()))
            shape = f"{race.kind}{' dense' if race.dense else ''} {race.rows} x {race.cols}, {race.count} trees"
            for name, a, b in zip(("fit", "predict"), theirs, ours, strict=True):
                print(f"{shape:<44} {name:<8} {a:9.3f} {b:9.3f} {a / b:6.1f}", flush=True)
            if race.kind == "boosting":
                print(f"{'':<44} predictions differ by at most {apart:.2g}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--time", action="store_true", help="race instead of writing golden files")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.time:
        race_all(options.rounds)
        return
    TESTDATA.mkdir(parents=True, exist_ok=True)
    write("boosting.json", boosting())
    write("cart.json", cart())


main()
