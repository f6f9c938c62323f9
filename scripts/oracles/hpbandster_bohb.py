#!/usr/bin/env python3
"""Golden values of HpBandSter's BOHB model for package baselines.

Writes baselines/testdata/hpbandster_bohb.json: the results that a config
generator was told one after the other, and after each the budget of its model,
the bandwidths of both densities and their values at a few points.

    python3 scripts/oracles/hpbandster_bohb.py

Needs hpbandster 0.7.4 with ConfigSpace 1.2.2 and statsmodels, which the golden
file was made with.
"""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ConfigSpace as CS
import numpy as np

# numpy's default sort leaves the order of equal numbers open.
np.argsort = functools.partial(np.argsort, kind="stable")
# Removed in ConfigSpace 1; what the generator calls.
for old, new in (("get_hyperparameters", lambda s: list(s.values())),):
    if not hasattr(CS.ConfigurationSpace, old):
        setattr(CS.ConfigurationSpace, old, new)

from hpbandster.optimizers.config_generators.bohb import BOHB

OUT = Path(__file__).resolve().parents[2] / "baselines" / "testdata" / "hpbandster_bohb.json"


def density(kde: Any, point: list[float]) -> float | None:
    """None where the data have one category alone and the kernel divides by zero."""
    value = float(kde.pdf(point))
    return value if np.isfinite(value) else None


def main() -> None:
    logging.disable(logging.CRITICAL)
    rng = np.random.default_rng(5)
    space = CS.ConfigurationSpace(seed=1)
    space.add(CS.CategoricalHyperparameter("a", ["x", "y", "z"]))
    space.add(CS.UniformFloatHyperparameter("b", 0.0, 1.0))
    space.add(CS.UniformFloatHyperparameter("c", 0.0, 1.0))
    names = [h.name for h in space.get_hyperparameters()]
    assert names == ["a", "b", "c"]
    generator = BOHB(space)

    def point() -> list[float]:
        return [float(rng.integers(3)), float(rng.uniform()), float(rng.uniform())]

    probes = [point() for _ in range(10)]
    steps: list[dict[str, Any]] = []
    for i in range(60):
        x = point()
        # Some bands of points keep to two categories, so that one is missing.
        if i < 12:
            x[0] = float(i % 2)
        budget = [1, 3, 1, 9][i % 4] if i < 40 else [1, 9, 9, 3][i % 4]
        loss: float | None = round(abs(x[1] - 0.3) + 0.2 * x[0] + float(rng.normal(0, 0.05)), 4)
        if i % 11 == 10:
            loss = None
        config = {"a": "xyz"[int(x[0])], "b": x[1], "c": x[2]}
        # Stored vectors, as the generator reads them.
        vector = CS.Configuration(space, config).get_array()
        job = SimpleNamespace(
            result=None if loss is None else {"loss": loss},
            kwargs={"budget": budget, "config": config},
            exception=None,
        )
        generator.new_result(job)
        step: dict[str, Any] = {"budget": budget, "point": vector.tolist(), "loss": loss, "model": None}
        if generator.kde_models:
            largest = max(generator.kde_models)
            good, bad = generator.kde_models[largest]["good"], generator.kde_models[largest]["bad"]
            step["model"] = {
                "budget": largest,
                "good": good.bw.tolist(),
                "bad": bad.bw.tolist(),
                "at_good": [density(good, p) for p in probes],
                "at_bad": [density(bad, p) for p in probes],
            }
        steps.append(step)
    OUT.write_text(json.dumps({"probes": probes, "steps": steps}) + "\n")


if __name__ == "__main__":
    main()
