"""Outcomes of runs as bytes, from a worker process to its parent: a line of JSON, and numbers."""

import json
from dataclasses import asdict, dataclass, fields

import numpy as np

from allocsim.experiment.records import TABLES, DamagedRecord, Record


@dataclass(frozen=True)
class Failure:
    """Why a run failed: a message for the user, and the traceback if the fault is not theirs."""

    message: str
    details: str = ""


def encode(outcome: Record | Failure) -> bytes:
    """The outcome as bytes."""
    if isinstance(outcome, Failure):
        return json.dumps({"failure": asdict(outcome)}).encode()
    head = {f.name: getattr(outcome, f.name) for f in fields(Record) if f.name != "tables"}
    tables = [np.array([outcome.tables[t][c] for c in TABLES[t]], "<i8") for t in TABLES]
    head["rows"] = [table.shape[1] for table in tables]
    return b"\n".join([json.dumps(head).encode(), b"".join(table.tobytes() for table in tables)])


def decode(data: bytes) -> Record | Failure:
    """The outcome in bytes that `encode` made; DamagedRecord if it is none."""
    line, _, numbers = data.partition(b"\n")
    try:
        head = json.loads(line)
        if "failure" in head:
            return Failure(**head["failure"])
        values, tables = np.frombuffer(numbers, "<i8"), {}
        for (name, columns), n_rows in zip(TABLES.items(), head.pop("rows"), strict=True):
            table, values = np.split(values, [len(columns) * n_rows])
            tables[name] = dict(zip(columns, table.reshape(len(columns), n_rows), strict=True))
        return Record(**head, tables=tables)
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedRecord(f"a worker process's answer: {error}") from None
