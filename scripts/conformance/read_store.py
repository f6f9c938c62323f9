#!/usr/bin/env python3
"""Read a meta-dataset with other implementations of Parquet and print what they see.

    python read_store.py results/extended

For each reader that is installed (pyarrow and DuckDB are required, polars is
not) the output has the rows, nulls and sums of every column of every table, as
JSON: numbers are summed in double precision, booleans counted, texts measured
in bytes of UTF-8. DuckDB also joins the tables, as a user would.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

TABLES = ("datasets", "models", "configs", "ends", "curves")

Column = dict[str, float]
Table = dict[str, Column]


def files(store: Path, table: str) -> list[Path]:
    """Return the Parquet files of a table, in order."""
    if table == "curves":
        return sorted((store / "curves").glob("*.parquet"))
    return [store / f"{table}.parquet"]


def with_pyarrow(store: Path, table: str) -> Table:
    """Sum up a table as pyarrow reads it."""
    data = pa.concat_tables([pq.read_table(path) for path in files(store, table)])
    result: Table = {}
    for name in data.column_names:
        column = data[name]
        if pa.types.is_string(column.type):
            numbers = pc.binary_length(column)
        else:
            numbers = column.cast(pa.int32()) if pa.types.is_boolean(column.type) else column
        total = pc.sum(numbers.cast(pa.float64())).as_py()
        result[name] = {
            "rows": len(column),
            "nulls": column.null_count,
            "sum": total or 0.0,
        }
    return result


def with_duckdb(store: Path, table: str) -> Table:
    """Sum up a table as DuckDB reads it."""
    paths = [str(path) for path in files(store, table)]
    source = duckdb.read_parquet(paths)
    result: Table = {}
    for name, kind in zip(source.columns, source.types, strict=True):
        quoted = '"' + name.replace('"', '""') + '"'
        value = f"strlen({quoted})" if str(kind) == "VARCHAR" else quoted
        query = f"select count(*), count(*) - count({quoted}), coalesce(sum(cast({value} as double)), 0) from source"
        answer = duckdb.sql(query)
        assert answer is not None
        rows, nulls, total = answer.fetchall()[0]
        result[name] = {"rows": rows, "nulls": nulls, "sum": total}
    return result


def with_polars(store: Path, table: str) -> Table:
    """Sum up a table as polars reads it."""
    import polars as pl

    data = pl.concat([pl.read_parquet(path) for path in files(store, table)])
    result: Table = {}
    for name in data.columns:
        column = data[name]
        numbers = column.str.len_bytes() if column.dtype == pl.String else column
        total = numbers.cast(pl.Float64).sum()
        result[name] = {
            "rows": len(column),
            "nulls": column.null_count(),
            "sum": float(total),
        }
    return result


def per_dataset(store: Path) -> dict[str, dict[str, float]]:
    """Count the curves and epochs of each data set and sum its seconds, with one join."""
    curves = [str(path) for path in files(store, "curves")]
    configs = str(store / "configs.parquet")
    query = """
        select c.dataset, count(distinct c.config), count(*), sum(cast(e.seconds as double)), max(e.val_accuracy)
        from read_parquet($curves) as e join read_parquet($configs) as c using (config)
        group by c.dataset
    """
    rows = duckdb.execute(query, {"curves": curves, "configs": configs}).fetchall()
    return {
        name: {"curves": n, "epochs": epochs, "seconds": seconds, "best": best}
        for name, n, epochs, seconds, best in rows
    }


def main() -> int:
    """Print the sums of a meta-dataset."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path, help="directory of a meta-dataset")
    store: Path = parser.parse_args().store
    if not (store / "manifest.json").is_file():
        print(f"{store}: no manifest.json: not a meta-dataset", file=sys.stderr)
        return 2
    readers = {"pyarrow": with_pyarrow, "duckdb": with_duckdb}
    if importlib.util.find_spec("polars") is not None:
        readers["polars"] = with_polars
    tables = [table for table in TABLES if files(store, table)]
    result = {name: {table: read(store, table) for table in tables} for name, read in readers.items()}
    json.dump(
        {"readers": result, "datasets": per_dataset(store)},
        sys.stdout,
        indent=1,
        sort_keys=True,
    )
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
