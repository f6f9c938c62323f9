#!/usr/bin/env python3
"""Golden values of hyperopt's TPE for package baselines.

Writes baselines/testdata/hyperopt_tpe.json: the mixtures of
adaptive_parzen_normal, and the log densities of uniform, log-uniform, whole
and categorical hyperparameters at a few levels, all for random observations.

    python3 scripts/oracles/hyperopt_tpe.py

Needs hyperopt 0.3.0, which the golden file was made with.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from hyperopt import tpe

# numpy's default sort leaves the order of equal numbers open, and it differs by
# machine; here they keep theirs.
np.argsort = functools.partial(np.argsort, kind="stable")

OUT = Path(__file__).resolve().parents[2] / "baselines" / "testdata" / "hyperopt_tpe.json"


def mixture(observed: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    weights, means, widths = tpe.adaptive_parzen_normal(observed, 1.0, 0.5 * (low + high), high - low)
    return weights, means, widths


def number_case(rng: np.random.Generator, n: int, kind: str) -> dict[str, Any]:
    lower, upper, step, log = {
        "uniform": (0.0, 0.8, 0.0, False),
        "loguniform": (1e-5, 1e-1, 0.0, True),
        "quniform": (0.0, 9.0, 1.0, False),
    }[kind]
    if kind == "quniform":
        observed = rng.integers(0, 10, n).astype(float)
        levels = np.arange(10.0)
    elif log:
        observed = np.exp(rng.uniform(math.log(lower), math.log(upper), n))
        levels = np.exp(np.linspace(math.log(lower), math.log(upper), 12))
    else:
        observed = rng.uniform(lower, upper, n)
        levels = np.linspace(lower, upper, 12)
    low, high = lower - step / 2, upper + step / 2
    if log:
        low, high = math.log(low), math.log(high)
    weights, means, widths = mixture(np.log(observed) if log else observed, low, high)
    if log:
        logs = tpe.LGMM1_lpdf(levels, weights, means, widths, low, high) + np.log(levels)
    else:
        logs = tpe.GMM1_lpdf(levels, weights, means, widths, low, high, step or None)
    return {
        "axis": {"lower": lower, "upper": upper, "step": step, "log": log},
        "observed": observed.tolist(),
        "mixture": {"weights": weights.tolist(), "means": means.tolist(), "widths": widths.tolist()},
        "levels": levels.tolist(),
        "logs": logs.tolist(),
    }


def category_case(rng: np.random.Generator, n: int, choices: int) -> dict[str, Any]:
    observed = rng.integers(0, choices, n)
    weights = tpe.linear_forgetting_weights(n, 25)
    counts = np.bincount(observed, minlength=choices, weights=weights)
    p = tpe.tpe_cat_pseudocounts(counts, 1.0, np.full(choices, 1 / choices), size=(1,))
    return {
        "axis": {"choices": choices},
        "observed": observed.astype(float).tolist(),
        "levels": np.arange(float(choices)).tolist(),
        "logs": np.log(p).tolist(),
    }


def main() -> None:
    rng = np.random.default_rng(11)
    cases = []
    for n in (0, 1, 2, 7, 25, 26, 60):
        cases += [number_case(rng, n, kind) for kind in ("uniform", "loguniform", "quniform")]
        cases.append(category_case(rng, n, 4))
    OUT.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


if __name__ == "__main__":
    main()
