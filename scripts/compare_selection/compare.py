#!/usr/bin/env python3
"""Time package selection beside the public Python implementations: same probe, one thread each.

Draws a probe of rectified features with labels and source probabilities, scores
it with the public code and with ours in turn, and prints the processor seconds
of each, the least over the rounds, with the ratio of the sums. Ours is charged
for all its closed-form scores, which are more than the public ones timed here,
and for checking the probe. The values of both are compared.

usage:
    git clone https://github.com/thuml/LogME repos/LogME
    git clone https://github.com/thuml/Transfer-Learning-Library repos/Transfer-Learning-Library
    git clone https://github.com/zhangyikaii/Model-Spider repos/Model-Spider
    pip install numpy scikit-learn numba torch
    python3 scripts/compare_selection/compare.py repos --rounds 3

Without torch the LFC of Model-Spider is left out, and said so. Linux only, where
processor time can be read.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import importlib.util
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
Array = NDArray[np.float64]
Labels = NDArray[np.int64]

# What the values of ours may differ by, relative to 1 or the value, and why.
TOLERANCE = {
    "lfc": 1e-5,  # single precision in the public code
    "leep": 1e-9,
    "nce": 1e-9,
    "logme": 2e-3,  # stops after 11 rounds there
    "h-score": 1e-4,  # inverts rounding errors there
    "h-score-regularised": 1e-6,
    "transrate": 1e-8,
}


@dataclass
class Probe:
    features: Array
    source: Array
    labels: Labels


def draw(images: int, features: int, classes: int, sources: int) -> Probe:
    """Features of 256 latent directions of falling strength, rectified, in single precision."""
    rng = np.random.default_rng(1)
    labels = np.arange(images) % classes
    latent = 256
    mix = rng.normal(size=(latent, features)) / np.sqrt(latent)
    z = 0.6 * rng.normal(size=(classes, latent))[labels]
    z += rng.normal(size=(images, latent)) * np.exp(-np.arange(latent) / 100)
    x = np.maximum(3 * z @ mix + 0.3 * rng.normal(size=(images, features)) - 0.5, 0)
    logits = rng.normal(size=(images, sources))
    logits[np.arange(images), 7 * labels % sources] += 2
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Probe(x.astype(np.float32).astype(np.float64), p / p.sum(axis=1, keepdims=True), labels)


def load(repos: Path, path: str) -> ModuleType:
    """A module by its file, without running the package around it."""
    spec = importlib.util.spec_from_file_location(Path(path).stem + "_public", repos / path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{repos / path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except FileNotFoundError as e:
        raise SystemExit(f"{repos / path}: not there; see --help for the repositories") from e
    return module


def public(repos: Path, p: Probe) -> dict[str, Callable[[], float]]:
    """The public scores of the probe, compiled and ready to be timed."""
    ranking = "Transfer-Learning-Library/tllib/ranking/"
    logme = load(repos, "LogME/LogME.py")
    hscore, transrate = load(repos, ranking + "hscore.py"), load(repos, ranking + "transrate.py")
    leep, nce = load(repos, ranking + "leep.py"), load(repos, ranking + "nce.py")
    logme.LogME().fit(np.random.default_rng(0).random((40, 20)), np.arange(40) % 3)
    z = p.source.argmax(axis=1)
    out: dict[str, Callable[[], float]] = {
        "leep": lambda: leep.log_expected_empirical_prediction(p.source, p.labels),
        "nce": lambda: nce.negative_conditional_entropy(z, p.labels),
        "transrate": lambda: transrate.transrate(p.features, p.labels),
        "h-score-regularised": lambda: hscore.regularized_h_score(p.features, p.labels),
        "h-score": lambda: hscore.h_score(p.features, p.labels),
        "logme": lambda: logme.LogME().fit(p.features, p.labels),
    }
    try:
        import torch
    except ImportError:
        print("torch is not installed: LFC is left out")
        return out
    torch.set_num_threads(1)
    lfc = load(repos, "Model-Spider/mptms/LFC.py")
    x, y = torch.from_numpy(p.features.astype(np.float32)), torch.from_numpy(p.labels)
    return {"lfc": lambda: lfc.LFC(x, y), **out}


def ours(server: subprocess.Popen[str], file: Path, p: Probe) -> dict[str, Any]:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{file} {len(p.labels)} {p.features.shape[1]} {p.source.shape[1]}\n")
    server.stdin.flush()
    line = server.stdout.readline()
    if not line:
        raise SystemExit("timescores ended; its message is above")
    answer: dict[str, Any] = json.loads(line)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repos", type=Path, help="folder of the three repositories")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--sources", type=int, default=1000)
    args = parser.parse_args()
    p = draw(args.images, args.features, args.classes, args.sources)
    scores = public(args.repos, p)
    with tempfile.TemporaryDirectory() as folder:
        file, program = Path(folder) / "probe.bin", Path(folder) / "timescores"
        np.concatenate([p.features.ravel(), p.source.ravel(), p.labels.astype(np.float64)]).tofile(file)
        subprocess.run(["go", "build", "-o", str(program), "./selection/timescores"], cwd=ROOT, check=True)
        seconds: dict[str, list[float]] = {name: [] for name in scores}
        values: dict[str, float] = {}
        totals: list[float] = []
        ratios: list[float] = []
        answer: dict[str, Any] = {}
        with subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            for r in range(args.rounds):
                spent = 0.0
                for name, f in scores.items():
                    start = time.process_time()
                    values[name] = float(f())
                    seconds[name].append(time.process_time() - start)
                    spent += seconds[name][-1]
                answer = ours(server, file, p)
                totals.append(answer["total"])
                ratios.append(spent / totals[-1])
                print(f"round {r + 1}: public {spent:.2f} s, ours {totals[-1]:.2f} s, {ratios[-1]:.1f}x", flush=True)
            assert server.stdin is not None
            server.stdin.close()
    print(f"\n{args.images} images, {args.features} features, {args.classes} classes, {args.sources} sources")
    print(f"{'score':22} {'public, s':>10} {'value':>14} {'ours':>14} {'difference':>11}")
    for name, times in seconds.items():
        a, b = values[name], answer["values"][name]
        far = abs(a - b) / max(1.0, abs(a))
        note = "" if far <= TOLERANCE[name] else f"  more than {TOLERANCE[name]:g}"
        print(f"{name:22} {min(times):10.3f} {a:14.6g} {b:14.6g} {far:11.1e}{note}")
    print(f"{'sum':22} {sum(min(t) for t in seconds.values()):10.3f}")
    print(
        f"ours: {len(answer['values'])} scores in {min(totals):.3f} s; ratio {np.median(ratios):.1f} (median of rounds)"
    )


if __name__ == "__main__":
    main()
