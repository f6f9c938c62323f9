"""Paired test of two methods over data sets, from reports of the benchmark.

    go run ./benchmark --data DIR --budget 4h --methods quicktune,meta-trees --seeds 5 --json > 4h.json
    python scripts/paired.py quicktune meta-trees 4h.json

Each report gives one line: the mean regret of both at its largest budget, their
difference with a 95 % bootstrap interval over data sets, the data sets on which
the first is better, equal and worse, and the two-sided p value of Wilcoxon's
signed-rank test (zeros dropped). Data sets count, seeds are averaged within.
Needs numpy and scipy.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import wilcoxon


def regrets(report: dict, method: str) -> dict[str, float]:
    """The regret of a method on each data set."""
    for m in report["methods"]:
        if m["name"] == method:
            return m["dataset_regret"]
    known = ", ".join(m["name"] for m in report["methods"])
    raise SystemExit(f"no method {method!r} in the report; it has {known}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("--resamples", type=int, default=10_000)
    arguments = parser.parse_args()
    for path in arguments.reports:
        report = json.loads(path.read_text())
        a, b = regrets(report, arguments.first), regrets(report, arguments.second)
        names = sorted(a)
        x, y = np.array([a[n] for n in names]), np.array([b[n] for n in names])
        difference = x - y
        rng = np.random.default_rng(0)
        means = difference[rng.integers(0, len(names), (arguments.resamples, len(names)))].mean(1)
        low, high = np.quantile(means, [0.025, 0.975])
        better, worse = int((difference < 0).sum()), int((difference > 0).sum())
        p = wilcoxon(difference).pvalue if better + worse > 0 else 1.0
        print(
            f"{path.stem}: {arguments.first} {x.mean():.3f}, {arguments.second} {y.mean():.3f}, "
            f"difference {difference.mean():.3f} [{low:.3f}, {high:.3f}], "
            f"better on {better}, equal on {len(names) - better - worse}, worse on {worse}, p = {p:.3f}"
        )


if __name__ == "__main__":
    main()
