"""Time our replay beside syne-tune's simulator: same table, same methods, one call.

Both sides replay the full-length curves of a meta-dataset under one simulated
worker and the same budget: random search, stopping ASHA with syne-tune's
quantile rule, and synchronous Hyperband with syne-tune's brackets. syne-tune is
timed inside its tuning loop only, without building its table; our side is
timed as a whole process, from its start to its end, on one thread. Rounds
alternate, so that both meet the same load; the median over rounds is printed
with the ratio.

usage:
    python3 -m venv venv
    venv/bin/pip install "syne-tune[blackbox-repository,gpsearchers]==0.13.0" "numpy<2" "pyarrow<22"
    venv/bin/python scripts/compare_synetune/compare.py results/extended
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from syne_tune import StoppingCriterion, Tuner
from syne_tune.backend.simulator_backend.simulator_callback import SimulatorCallback
from syne_tune.blackbox_repository import UserBlackboxBackend
from syne_tune.blackbox_repository.blackbox_tabular import BlackboxTabular
from syne_tune.config_space import choice, randint
from syne_tune.optimizer.baselines import ASHA, RandomSearch, SyncHyperband
from syne_tune.optimizer.scheduler import TrialScheduler

ROOT = Path(__file__).resolve().parents[2]
METRIC, ELAPSED, EPOCH = "error", "elapsed", "epoch"


@dataclass
class Table:
    """Full-length curves of one data set: arrays of shape (curves, epochs)."""

    name: str
    accuracy: np.ndarray
    seconds: np.ndarray


def load(store: Path) -> list[Table]:
    """Read the full-length curves of every data set from the Parquet files."""
    max_epochs = json.loads((store / "manifest.json").read_text())["max_epochs"]
    configs = pq.read_table(store / "configs.parquet", columns=["config", "dataset"]).to_pandas()
    parts = sorted((store / "curves").glob("*.parquet"))
    columns = ["config", "epoch", "val_accuracy", "seconds"]
    curves = pd.concat(pq.read_table(p, columns=columns).to_pandas() for p in parts)
    length = curves.groupby("config")["epoch"].max()
    full = length.index[length == max_epochs]
    tables = []
    for name, rows in configs[configs["config"].isin(full)].groupby("dataset", sort=True):
        part = curves[curves["config"].isin(rows["config"])].sort_values(["config", "epoch"])
        shape = (len(rows), max_epochs)
        tables.append(
            Table(
                str(name),
                part["val_accuracy"].to_numpy(np.float64).reshape(shape),
                part["seconds"].to_numpy(np.float64).reshape(shape),
            )
        )
    return tables


def blackbox(table: Table) -> BlackboxTabular:
    """Build syne-tune's table: errors to minimise, and elapsed times.

    Its quantile rule rounds differently when it maximises, so it gets the error.
    """
    curves, epochs = table.accuracy.shape
    elapsed = np.cumsum(table.seconds, axis=1)
    return BlackboxTabular(
        hyperparameters=pd.DataFrame({"row": np.arange(curves)}),
        configuration_space={"row": choice(list(range(curves)))},
        fidelity_space={EPOCH: randint(1, epochs)},
        objectives_evaluations=np.stack([1 - table.accuracy, elapsed], axis=-1)[:, None],
        objectives_names=[METRIC, ELAPSED],
    )


def scheduler(method: str, table: Table, seed: int) -> TrialScheduler:
    """Make syne-tune's scheduler for one of the three methods."""
    curves, epochs = table.accuracy.shape
    space = {"row": choice(list(range(curves))), "epochs": epochs}
    common = {"metric": METRIC, "mode": "min", "random_seed": seed}
    if method == "random":
        return RandomSearch(space, **common)
    if method == "asha":
        return ASHA(space, resource_attr=EPOCH, max_t=epochs, type="stopping", **common)
    return SyncHyperband(space, resource_attr=EPOCH, max_resource_attr="epochs", **common)


OURS = {"random": "random", "asha": "asha-synetune-stopping", "hyperband": "hyperband-synetune"}


def time_synetune(tables: list[Table], method: str, budget: float, seed: int) -> tuple[float, int]:
    """Run one experiment a data set; return seconds in the loop and epochs reported."""
    took, reports = 0.0, 0
    for table in tables:
        backend = UserBlackboxBackend(blackbox=blackbox(table), elapsed_time_attr=ELAPSED)
        tuner = Tuner(
            trial_backend=backend,
            scheduler=scheduler(method, table, seed),
            stop_criterion=StoppingCriterion(max_wallclock_time=budget),
            n_workers=1,
            sleep_time=0,
            callbacks=[SimulatorCallback()],
            save_tuner=False,
            suffix_tuner_name=True,
        )
        start = time.perf_counter()
        tuner.run()
        took += time.perf_counter() - start
        reports += tuner.tuning_status.overall_metric_statistics.count
    return took, reports


def time_ours(binary: Path, store: Path, method: str, hours: float, seeds: int) -> tuple[float, int]:
    """Run our replay as one process on one thread; return its wall time and epochs replayed."""
    command = [str(binary), "--data", str(store), "--methods", OURS[method], "--budget", f"{hours:g}h"]
    command += ["--seeds", str(seeds), "--parallel", "1", "--exclude", "short", "--json"]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "GOMAXPROCS": "1"})
    took = time.perf_counter() - start
    report = json.loads(done.stdout)
    runs, spent = len(report["datasets"]) * seeds, report["methods"][0]["spent"]
    return took, round(spent["epochs"] * runs)


def quietly(run: Callable[[], tuple[float, int]]) -> tuple[float, int]:
    """Run without syne-tune's printing, which would slow it down."""
    with open(os.devnull, "w") as sink:
        saved, sys.stdout = sys.stdout, sink
        try:
            return run()
        finally:
            sys.stdout = saved


def main() -> None:
    """Parse the command line, run the rounds, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("store", type=Path, help="meta-dataset with times, such as results/extended")
    parser.add_argument("--hours", type=float, default=16, help="simulated budget (16)")
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds (3)")
    parser.add_argument("--seeds", type=int, default=100, help="seeds of our side; syne-tune runs one a round (100)")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    logging.disable(logging.CRITICAL)
    tables = load(args.store)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SYNETUNE_FOLDER"] = folder
        binary = Path(folder) / "benchmark"
        subprocess.run(["go", "build", "-o", str(binary), "./benchmark"], cwd=ROOT, check=True)
        curves = f"{len(tables)} data sets, full-length curves only"
        print(f"{curves}, 1 worker, {args.hours:g} h, median of {args.rounds} rounds")
        runs = f"{'method':<10} {'syne-tune ms/run':>17} {'ours ms/run':>12} {'ratio':>7}"
        print(f"{runs} {'us/epoch':>9} {'ours':>7} {'ratio':>7}")
        for method in OURS:
            theirs: list[tuple[float, float]] = []
            ours: list[tuple[float, float]] = []
            for r in range(args.rounds):
                took, epochs = quietly(partial(time_synetune, tables, method, args.hours * 3600, r))
                theirs.append((1e3 * took / len(tables), 1e6 * took / max(epochs, 1)))
                took, epochs = time_ours(binary, args.store.resolve(), method, args.hours, args.seeds)
                ours.append((1e3 * took / (len(tables) * args.seeds), 1e6 * took / max(epochs, 1)))
            a, b = (statistics.median(x[0] for x in side) for side in (theirs, ours))
            c, d = (statistics.median(x[1] for x in side) for side in (theirs, ours))
            print(f"{method:<10} {a:>17.1f} {b:>12.3f} {a / b:>6.0f}x {c:>9.1f} {d:>7.3f} {c / d:>6.0f}x")


if __name__ == "__main__":
    main()
