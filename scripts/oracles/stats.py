#!/usr/bin/env python3
"""Golden values of SciPy, autorank, scikit-posthocs and rliable for benchmark/stats.

Writes benchmark/stats/testdata/oracles.json: the tests of Friedman, Nemenyi and
Wilcoxon, Holm's adjustment, probabilities of improvement, interquartile means and
performance profiles on 200 random tables, and Wilcoxon's test on small samples
with ties and zeros. The tables are not stored: both sides draw them from
SplitMix64, see table().

    python3 scripts/oracles/stats.py

Needs scipy 1.17.1, autorank 1.3.0, scikit-posthocs 0.17.1, rliable 1.2.0 and pandas 2, which
the golden file was made with.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scikit_posthocs
from autorank import autorank
from rliable import metrics
from rliable.library import run_score_deviation
from scipy import stats
from statsmodels.stats.multitest import multipletests

OUT = Path(__file__).resolve().parents[2] / "benchmark" / "stats" / "testdata" / "oracles.json"
MASK = (1 << 64) - 1
TABLES = 200


def split_mix(seed: int) -> Iterator[int]:
    """SplitMix64 of Steele, Lea and Flood (2014)."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def table(index: int) -> np.ndarray:
    """Runs of methods on data sets, by method, data set and run."""
    draw = split_mix(index)
    methods = 2 + next(draw) % (5 if index % 10 else 11)
    datasets = 6 + next(draw) % 30
    runs = 1 + next(draw) % 4
    levels = (8, 100, 1 << 20)[next(draw) % 3]
    out = np.empty((methods, datasets, runs))
    for place in np.ndindex(out.shape):
        out[place] = next(draw) % levels / levels
    return out


def short(x: Any) -> Any:
    """Numbers with 13 digits, in lists of any depth."""
    if isinstance(x, (list, tuple, np.ndarray)):
        return [short(v) for v in x]
    return float(f"{float(x):.13g}")


def friedman(values: np.ndarray) -> dict[str, Any]:
    k, n = values.shape
    if k < 3:  # SciPy wants three groups; the definition does not
        return {}
    chi, p = stats.friedmanchisquare(*values)
    f = (n - 1) * chi / (n * (k - 1) - chi)
    return {"friedman": short([chi, p, f, stats.f.sf(f, k - 1, (k - 1) * (n - 1))])}


def case(index: int) -> dict[str, Any]:
    runs = table(index)
    values = runs.mean(axis=2) if runs.shape[2] != 3 else runs[:, :, 0]
    k, n = values.shape
    out: dict[str, Any] = friedman(values)
    out["mean_ranks"] = short(stats.rankdata(values, axis=0).mean(axis=1))
    q = stats.studentized_range.ppf(0.95, k, np.inf) / math.sqrt(2)
    out["critical"] = short(q * math.sqrt(k * (k + 1) / (6 * n)))
    if k > 2:
        nemenyi = scikit_posthocs.posthoc_nemenyi_friedman(values.T).to_numpy()
        out["nemenyi"] = short([nemenyi[i, j] for i, j in itertools.combinations(range(k), 2)])
    approximate, automatic = [], []
    for i, j in itertools.combinations(range(k), 2):
        d = values[i] - values[j]
        if not d.any():
            approximate.append(1.0)
            automatic.append(1.0)
            continue
        approximate.append(stats.wilcoxon(d, method="asymptotic").pvalue)
        ties = len(set(np.abs(d))) < n or not d.all()
        automatic.append(stats.wilcoxon(d).pvalue if not ties or n <= 13 else -1.0)
    out["approximate"] = short(approximate)
    out["automatic"] = short(automatic)  # -1 where SciPy's choice is no exact test
    out["holm"] = short(multipletests(approximate, method="holm")[1])
    out["improvement"] = short(metrics.probability_of_improvement(-runs[0].T, -runs[1].T))
    out["iqm"] = short(metrics.aggregate_iqm(values[0][None]))
    taus = [0.125, 0.25, 0.5, 0.75]
    out["profile"] = short([1 - run_score_deviation(values[:1].T, tau) for tau in taus])
    if k > 2 and index % 10 == 1:
        frame = pd.DataFrame(values.T, columns=[f"m{i:02}" for i in range(k)])
        with contextlib.redirect_stdout(io.StringIO()):  # it prints even so
            ranked = autorank(frame, alpha=0.05, verbose=False, order="ascending", force_mode="nonparametric")
        order = ranked.rankdf.sort_index()
        out["autorank"] = short([ranked.pvalue, ranked.cd, *order["meanrank"]])
    return out


def small_samples() -> list[dict[str, Any]]:
    """Wilcoxon's test with ties and zeros, by all assignments of signs."""
    samples = [
        [1.1, 2.3, -0.4, 3.3, 0.9, -1.2, 2.2, 1.7],
        [1, 1, -1, 2, 2, -3],
        [0, 0, 1, 2, -3, 4, 5],
        [2, 2, 2, 2, 2, 2],
        [-1, 1],
        [1, -2, 3, -4, 5, 5, 5, -6, 7, 0, 8, 8, -9],
        [1, 1, 2, 2, 3, 3, -4, 4, 5, -5, 6, 7, -7, 8, 0, 9],
        [0.25, 0.25, -0.25, 0.5, 0.5, 0.75, -1, 1, 1, 1.25, 1.5, -1.5, 1.75, 2, 2, -0.5],
    ]
    out = []
    for sample in samples:
        d = np.array(sample, dtype=float)
        d = d[d != 0]  # what SciPy drops; without them no permutation is wasted
        every = stats.PermutationMethod(n_resamples=1 << 20)
        result = stats.wilcoxon(d, method=every)
        approximate = stats.wilcoxon(d, method="asymptotic")
        out.append(
            {
                "differences": sample,
                "statistic": short(result.statistic),
                "exact": short(result.pvalue),
                "approximate": short(approximate.pvalue),
            }
        )
    return out


def main() -> None:
    warnings.simplefilter("ignore")
    content = {"tables": [case(i) for i in range(TABLES)], "small": small_samples()}
    OUT.parent.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in content["tables"])
    small = ",\n".join(json.dumps(c, separators=(",", ":")) for c in content["small"])
    OUT.write_text(f'{{"tables":[\n{lines}\n],"small":[\n{small}\n]}}\n')
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
