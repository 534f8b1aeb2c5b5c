"""The totals of all finished runs in SQLite, for queries by hand: a copy of what `runs/` holds."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from allocsim.experiment.store import RunStore, StoredRun, cannot_store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    key TEXT PRIMARY KEY,
    workload TEXT, label TEXT, parameters TEXT, seed INTEGER, seconds REAL
);
CREATE TABLE IF NOT EXISTS totals (
    key TEXT REFERENCES runs, name TEXT, value REAL, PRIMARY KEY (key, name)
);
"""


def update_index(store: RunStore) -> None:
    """Makes `index.sqlite` of a results folder agree with its runs; a damaged one is made anew.

    StoreError when it cannot be written.
    """
    path = store.root / "index.sqlite"
    try:
        _update_or_replace(path, store)
    except (sqlite3.Error, OSError) as error:
        raise cannot_store(path, error) from error


def _update_or_replace(path: Path, store: RunStore) -> None:
    try:
        _update_file(path, store)
    except sqlite3.DatabaseError:
        path.unlink(missing_ok=True)
        _update_file(path, store)


def _update_file(path: Path, store: RunStore) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        _update(database, store)


def _update(database: sqlite3.Connection, store: RunStore) -> None:
    database.executescript(_SCHEMA)
    known = {key for (key,) in database.execute("SELECT key FROM runs")}
    present = store.keys()
    gone = [(key,) for key in known - present]
    database.executemany("DELETE FROM totals WHERE key = ?", gone)
    database.executemany("DELETE FROM runs WHERE key = ?", gone)
    for key in present - known:
        if stored := store.find(key):
            _insert(database, stored)


def _insert(database: sqlite3.Connection, stored: StoredRun) -> None:
    run = stored.run
    parameters = json.dumps(run["parameters"], sort_keys=True)
    row = (stored.key, run["workload"], run["label"], parameters, run["seed"], stored.seconds)
    database.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?)", row)
    totals = [(stored.key, name, value) for name, value in stored.totals.items()]
    database.executemany("INSERT INTO totals VALUES (?, ?, ?)", totals)
