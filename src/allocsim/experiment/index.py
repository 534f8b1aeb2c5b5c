"""The table of all finished runs in SQLite, for queries by hand: the same as `runs.parquet`."""

import sqlite3
from contextlib import closing

import pyarrow as pa

_BATCH_ROWS = 1000


def index_of(table: pa.Table) -> bytes:
    """A database with one table, `runs`, of the same rows and columns.

    It is made in memory and written as a whole, so no older file is read or followed anywhere.
    """
    with closing(sqlite3.connect(":memory:")) as database:
        if table.num_columns:
            _fill(database, _with_names_for_sql(table))
        else:  # no run ended well
            database.execute("CREATE TABLE runs (key TEXT)")
        return database.serialize()


def _with_names_for_sql(table: pa.Table) -> pa.Table:
    """The table without columns whose names differ from an earlier one's in case only.

    SQL takes these for the same; only parameters can have such names, and are in `parameters`, too.
    """
    first = {name.casefold(): name for name in reversed(table.column_names)}
    return table.select([name for name in table.column_names if name in first.values()])


def _fill(database: sqlite3.Connection, table: pa.Table) -> None:
    columns = ", ".join(f"{_quoted(f.name)} {_type(f)}" for f in table.schema)
    places = ", ".join("?" * table.num_columns)
    with database:
        database.execute(f"CREATE TABLE runs ({columns})")
        for batch in table.to_batches(_BATCH_ROWS):
            values = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            database.executemany(f"INSERT INTO runs VALUES ({places})", values)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _type(field: pa.Field) -> str:
    if pa.types.is_integer(field.type):
        return "INTEGER"
    return "REAL" if pa.types.is_floating(field.type) else "TEXT"
