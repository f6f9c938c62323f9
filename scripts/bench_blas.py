#!/usr/bin/env python3
"""Compare package internal/blas with gonum and with numpy's OpenBLAS.

One thread each, in one paired run: every round asks each contender in turn for
its least processor time, and the figures are the least over the rounds, so
that a busy machine spoils all alike. Processor time leaves out the time others
had the processor, not the cache they took meanwhile: read ratios.

    python3 scripts/bench_blas.py
    python3 scripts/bench_blas.py --ops dgemm,dpotrf --sizes 64,256 --rounds 10
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

ROOT = Path(__file__).resolve().parent.parent
PATHS = ["gonum", "portable", "avx2", "avx512"]
# Operations counted for one call at order n, divided by n cubed.
OPERATIONS = {
    "dgemm": 2.0,
    "dgemm-nt": 2.0,
    "dgemm-tn": 2.0,
    "sgemm": 2.0,
    "dsyrk": 1.0,
    "dtrsm": 1.0,
    "dtrsm-right": 1.0,
    "dpotrf": 1 / 3,
    "dpotri": 2 / 3,
}
BUDGET = 0.06  # seconds of processor time for one figure, as in timeblas
SHORTEST = 0.0005  # and the least a single timing may take


def openblas(operation: str, n: int) -> Callable[[], object]:
    """Return one call of the operation on column-major matrices of order n."""
    rng = np.random.default_rng(n)

    def matrix(dtype: type = np.float64) -> NDArray[np.floating]:
        return np.asfortranarray(rng.random((n, n)) - 0.5, dtype=dtype)

    a, b = matrix(), matrix()
    if operation.startswith("dgemm"):
        c = matrix()
        flags = {"dgemm": (0, 0), "dgemm-nt": (0, 1), "dgemm-tn": (1, 0)}[operation]
        return lambda: blas.dgemm(1.0, a, b, 0.0, c, trans_a=flags[0], trans_b=flags[1], overwrite_c=1)
    if operation == "sgemm":
        x, y, z = (matrix(np.float32) for _ in range(3))
        return lambda: blas.sgemm(1.0, x, y, 0.0, z, overwrite_c=1)
    if operation == "dsyrk":
        c = matrix()
        return lambda: blas.dsyrk(1.0, a, 0.0, c, lower=1, overwrite_c=1)
    s = np.asfortranarray(a @ a.T + 0.1 * n * np.eye(n))
    w = s.copy(order="F")
    if operation == "dpotrf":

        def factor() -> None:
            np.copyto(w, s)
            lapack.dpotrf(w, lower=1, clean=0, overwrite_a=1)

        return factor
    factor_l, info = lapack.dpotrf(s, lower=1, clean=1)
    if info != 0:
        raise ValueError(f"test matrix of order {n} is not positive definite")
    if operation == "dpotri":

        def invert() -> None:
            np.copyto(w, factor_l)
            lapack.dpotri(w, lower=1, overwrite_c=1)

        return invert

    def solve() -> None:
        np.copyto(w, b)
        blas.dtrsm(
            1.0,
            factor_l,
            w,
            side=int(operation == "dtrsm-right"),
            lower=1,
            trans_a=int(operation == "dtrsm-right"),
            overwrite_b=1,
        )

    return solve


def best(call: Callable[[], object]) -> float:
    """Return the least processor time of a call, in seconds."""
    call()
    spent, repeat, least = 0.0, 1, float("inf")
    while spent < BUDGET or least == float("inf"):
        start = time.process_time()
        for _ in range(repeat):
            call()
        took = time.process_time() - start
        spent += took
        if took < SHORTEST and repeat < 1 << 20:
            repeat *= 2
            continue
        least = min(least, took / repeat)
    return least


class Server:
    """The Go side: answers one request a line."""

    def __init__(self, directory: str) -> None:
        binary = Path(directory) / "timeblas"
        subprocess.run(
            ["go", "build", "-o", str(binary), "./internal/blas/timeblas"],
            cwd=ROOT,
            check=True,
        )
        self.process = subprocess.Popen([str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _pipe(self, pipe: IO[str] | None) -> IO[str]:
        if pipe is None:
            raise RuntimeError("timeblas was started without pipes")
        return pipe

    def best(self, operation: str, path: str, n: int) -> float:
        stdin, stdout = self._pipe(self.process.stdin), self._pipe(self.process.stdout)
        print(operation, path, n, file=stdin, flush=True)
        answer = stdout.readline()
        if not answer:
            raise RuntimeError(f"timeblas stopped at {operation} {path} {n}")
        return float(answer)

    def close(self) -> None:
        self._pipe(self.process.stdin).close()
        self.process.wait()


def cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown CPU"


def kernels() -> str:
    """Name the kernels OpenBLAS chose, where threadpoolctl can tell."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "kernels not known: threadpoolctl is not installed"
    names = {
        f"{i['version']} {i['architecture']}, {i['num_threads']} thread"
        for i in threadpool_info()
        if i["internal_api"] == "openblas"
    }
    return "; ".join(sorted(names))


def names(allowed: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(allowed)}")
        return chosen

    return parse


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ops", type=names(list(OPERATIONS)), default=list(OPERATIONS))
    parser.add_argument(
        "--sizes",
        type=lambda s: [int(x) for x in s.split(",")],
        default=[64, 256, 1024],
    )
    parser.add_argument("--paths", type=names(PATHS), default=["gonum", "avx2", "avx512"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    print(f"{cpu()}; numpy {np.__version__}, OpenBLAS {kernels()}")
    print(f"GFLOP/s, least processor time of {options.rounds} rounds\n")
    titles = ["op", "n", *options.paths, "openblas", "x gonum", "x openblas"]
    print("| " + " | ".join(titles) + " |")
    print("|" + "---|" * len(titles))
    with tempfile.TemporaryDirectory() as directory:
        server = Server(directory)
        for operation in options.ops:
            for n in options.sizes:
                call = openblas(operation, n)
                least = dict.fromkeys([*options.paths, "openblas"], float("inf"))
                for _ in range(options.rounds):
                    for path in options.paths:
                        least[path] = min(least[path], server.best(operation, path, n))
                    least["openblas"] = min(least["openblas"], best(call))
                rate = {k: OPERATIONS[operation] * n**3 / v / 1e9 for k, v in least.items()}
                ours = rate[options.paths[-1]]
                cells = [operation, str(n)] + [f"{r:.1f}" for r in rate.values()]
                for other in ("gonum", "openblas"):
                    cells.append(f"{ours / rate[other]:.2f}" if other in rate else "-")
                print("| " + " | ".join(cells) + " |", flush=True)
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
