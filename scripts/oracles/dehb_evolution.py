#!/usr/bin/env python3
"""Golden values of DEHB's evolution for package baselines.

Writes baselines/testdata/dehb.json: the first populations, and for jobs that
are asked for and told one after the other the bracket, the fidelity, the parent
and the individual, together with every random number that was drawn.

    python3 scripts/oracles/dehb_evolution.py

Needs dehb 0.1.2, which the golden file was made with.
"""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# numpy's default sort leaves the order of equal numbers open.
np.argsort = functools.partial(np.argsort, kind="stable")

from dehb import DEHB
from dehb.optimizers.de import AsyncDE

OUT = Path(__file__).resolve().parents[2] / "baselines" / "testdata" / "dehb.json"
DIMENSIONS = 3


class Recorder:
    """A generator that keeps what it draws."""

    def __init__(self, rng: np.random.Generator, draws: list[Any]) -> None:
        self.rng, self.draws = rng, draws

    def keep(self, values: Any) -> Any:
        self.draws += np.asarray(values).ravel().tolist()
        return values

    def uniform(self, low: float, high: float, size: Any) -> Any:
        return self.keep(self.rng.uniform(low, high, size))

    def random(self, size: int) -> Any:
        return self.keep(self.rng.random(size))

    def integers(self, low: int, high: int) -> Any:
        return self.keep(self.rng.integers(low, high))

    def choice(self, values: Any, size: int, replace: bool) -> Any:
        return self.keep(self.rng.choice(values, size, replace=replace))


def mutants(self: AsyncDE, pop_size: int, population: Any, target: Any = None, best: Any = None) -> NDArray[np.float64]:
    """The source's, without the uniform numbers that it draws and overwrites."""
    return np.array([self.mutation(current=target, best=best, alt_pop=population) for _ in range(pop_size)])


def loss(vector: list[float], fidelity: float) -> float:
    return round(sum((v - 0.4) ** 2 for v in vector) + 0.1 / fidelity, 6)


def case(eta: int, low: int, high: int, seed: int, jobs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        dehb = DEHB(
            dimensions=DIMENSIONS,
            configspace=False,
            min_fidelity=low,
            max_fidelity=high,
            eta=eta,
            n_workers=1,
            seed=seed,
            output_path=folder,
            log_level="ERROR",
            save_freq=None,
        )
        draws: list[Any] = []
        populations = [dehb.de[f].population.tolist() for f in dehb.fidelities]
        for f in dehb.fidelities:
            dehb.de[f].rng = Recorder(dehb.de[f].rng, draws)
        steps = []
        waiting = []
        for number in range(jobs):
            del draws[:]
            job = dehb.ask()
            steps.append(
                {
                    "bracket": int(job["bracket_id"]),
                    "fidelity": float(job["fidelity"]),
                    "parent": int(job["parent_id"]),
                    "vector": [float(v) for v in job["config"]],
                    "loss": loss(list(job["config"]), job["fidelity"]),
                    "draws": list(draws),
                }
            )
            waiting.append((job, steps[-1]["loss"]))
            # Up to three jobs at the same time.
            if len(waiting) == 3 or number % 5 == 4:
                for told, value in waiting:
                    dehb.tell(told, {"fitness": value, "cost": 1.0})
                waiting.clear()
                steps[-1]["tell"] = True
        return {"eta": eta, "min": low, "max": high, "populations": populations, "steps": steps}


def main() -> None:
    AsyncDE._init_mutant_population = mutants
    cases = [case(3, 1, 9, 1, 70), case(3, 1, 27, 2, 100), case(4, 1, 16, 3, 40), case(2, 3, 9, 4, 30)]
    OUT.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


if __name__ == "__main__":
    main()
