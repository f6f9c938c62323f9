#!/usr/bin/env python3
"""Compare opening and writing a meta-dataset with pyarrow's Parquet.

    python3 scripts/compare_parquet/compare.py
    python3 scripts/compare_parquet/compare.py --curves 4000 --rounds 3

Ours opens a store as every command does: it checks the SHA-256 of each file and
every row, and builds the columnar view. pyarrow only reads the same files into
tables, or writes the same tables with the same encodings. Both take turns; the
figures are the least processor time over the rounds. Needs pyarrow.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]


def used() -> float:
    """Processor time of this process and its threads so far, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Ours:
    """The Go program, which obeys a line at a time."""

    def __init__(self, directory: Path) -> None:
        program = directory / "ours"
        subprocess.run(["go", "build", "-o", program, "./scripts/compare_parquet"], cwd=ROOT, check=True)
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words: object) -> float:
        assert self.process.stdin and self.process.stdout
        print(*words, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("our side ended early")
        return float(answer)


def parquet_files(store: Path) -> list[Path]:
    return sorted(store.rglob("*.parquet"))


def read(store: Path) -> dict[Path, pa.Table]:
    return {path: pq.ParquetFile(path).read(use_threads=False) for path in parquet_files(store)}


def write(tables: dict[Path, pa.Table], store: Path, out: Path) -> None:
    for path, table in tables.items():
        target = out / path.relative_to(store)
        target.parent.mkdir(parents=True, exist_ok=True)
        floats = [f.name for f in table.schema if f.type == pa.float32()]
        others = [f.name for f in table.schema if f.type != pa.float32()]
        pq.write_table(table, target, compression="zstd", use_dictionary=others, use_byte_stream_split=floats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", default="4000,40000", help="numbers of curves, 20 data sets each")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ours = Ours(directory)
        print(f"pyarrow {pa.__version__}")
        print("| what | curves | rows | ours | pyarrow | times faster |")
        print("|---|---:|---:|---:|---:|---:|")
        for curves in (int(n) for n in options.curves.split(",")):
            store, theirs = directory / "store", directory / "theirs"
            ours.ask("make", curves)
            least: dict[str, list[float]] = {"open": [], "write": []}
            peer: dict[str, list[float]] = {"open": [], "write": []}
            rows = 0
            for _ in range(options.rounds):
                shutil.rmtree(store, ignore_errors=True)
                shutil.rmtree(theirs, ignore_errors=True)
                least["write"].append(ours.ask("write", store))
                tables = read(store)
                rows = max(table.num_rows for table in tables.values())
                start = used()
                write(tables, store, theirs)
                peer["write"].append(used() - start)
                del tables
                least["open"].append(ours.ask("open", store))
                start = used()
                read(store)
                peer["open"].append(used() - start)
            for what, mine in least.items():
                a, b = min(mine), min(peer[what])
                print(f"| {what} | {curves} | {rows} | {a * 1e3:.1f} ms | {b * 1e3:.1f} ms | {b / a:.2f} |", flush=True)


if __name__ == "__main__":
    main()
