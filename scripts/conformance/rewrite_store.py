#!/usr/bin/env python3
"""Write every Parquet file of a meta-dataset anew with another implementation.

    python rewrite_store.py --writer pyarrow results/copy

The values stay what they are; encodings, pages and row groups become those that
the writer prefers. The hashes in manifest.json are then no longer right: the
test that calls this puts new ones in.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq


def with_pyarrow(path: Path, target: Path) -> None:
    """Rewrite a file with small row groups, dictionaries and data pages of version 1."""
    pq.write_table(pq.read_table(path), target, compression="zstd", row_group_size=1000)


def with_pyarrow_plain(path: Path, target: Path) -> None:
    """Rewrite a file without compression or dictionaries, with data pages of version 2."""
    pq.write_table(
        pq.read_table(path),
        target,
        compression="none",
        use_dictionary=False,
        data_page_version="2.0",
        data_page_size=2000,
    )


def with_duckdb(path: Path, target: Path) -> None:
    """Rewrite a file as DuckDB copies it."""
    duckdb.read_parquet(str(path)).write_parquet(str(target), compression="zstd")


def main() -> int:
    """Rewrite a meta-dataset in place."""
    writers = {
        "pyarrow": with_pyarrow,
        "pyarrow-plain": with_pyarrow_plain,
        "duckdb": with_duckdb,
    }
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--writer", choices=sorted(writers), required=True)
    parser.add_argument("store", type=Path, help="directory of a meta-dataset, which is changed")
    arguments = parser.parse_args()
    for path in sorted(arguments.store.rglob("*.parquet")):
        target = path.with_suffix(".rewritten")
        writers[arguments.writer](path, target)
        target.replace(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
