"""The record of one finished run: what the store keeps, covered by two hashes.

`result` covers what the simulation gave, totals and tables: equal runs have equal ones, wherever
and however they were computed. `seal` covers the record as a whole. A record whose hashes do not
fit, or whose totals are not numbers, is no record: the run is computed again.
"""

import hashlib
import json
import math
import time
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from allocsim.experiment.sweep import Run
from allocsim.metrics import SAMPLE_COLUMNS, THREAD_COLUMNS, WALK_COLUMNS

TABLES = {"samples": SAMPLE_COLUMNS, "walks": WALK_COLUMNS, "threads": THREAD_COLUMNS}
"""The tables of a run, and their columns, all of them integers."""


class DamagedRecord(ValueError):
    """A record that is not as it was written."""


@dataclass(frozen=True)
class StoredRun:
    """What a sweep needs of a finished run: key, totals by name, seconds it took, result's hash."""

    key: str
    totals: dict[str, int | float]
    seconds: float
    result: str


@dataclass(frozen=True)
class Record:
    """A finished run as it is stored.

    run, totals, provenance: JSON; null stands for a total that is no number. seconds: what the
    simulation took. written_ns: when, since 1970. tables: columns by name, by name of the table.
    result, seal: SHA-256 in hexadecimal, as above.
    """

    key: str
    run: str
    totals: str
    provenance: str
    seconds: float
    written_ns: int
    tables: dict[str, dict[str, np.ndarray]]
    result: str
    seal: str

    @classmethod
    def of(cls, run: Run, result: Any, seconds: float) -> "Record":
        """The record of a run that gave `result`."""
        tables = {name: _integers(getattr(result, name), names) for name, names in TABLES.items()}
        totals = _json({k: _jsonable(v) for k, v in result.totals.items()})
        told = (
            _json({field.name: getattr(run, field.name) for field in fields(run)}),
            totals,
            _json(result.provenance),
        )
        written = round(seconds, 6), time.time_ns()
        digest = _result_hash(totals, tables)
        return cls(
            run.key, *told, *written, tables, digest, _seal(run.key, *told, *written, digest)
        )

    def table(self, name: str) -> dict[str, np.ndarray]:
        """The columns of its `samples`, `walks` or `threads`."""
        return self.tables[name]

    @property
    def n_bytes(self) -> int:
        """Roughly how much memory it takes."""
        columns = sum(
            len(table) * len(next(iter(table.values()))) for table in self.tables.values()
        )
        return 8 * columns + len(self.run) + len(self.totals) + len(self.provenance)

    def checked(self) -> StoredRun:
        """The run, if the record is as it was written; DamagedRecord if not."""
        head = self.key, self.run, self.totals, self.provenance, self.seconds, self.written_ns
        if _result_hash(self.totals, self.tables) != self.result:
            raise DamagedRecord(f"{self.key}: totals or tables do not fit their hash")
        if _seal(*head, self.result) != self.seal:
            raise DamagedRecord(f"{self.key}: the record does not fit its hash")
        return self.stored()

    def stored(self) -> StoredRun:
        """The run, of a record that was made in this sweep; DamagedRecord where totals are none."""
        return StoredRun(self.key, _read_totals(self.totals), self.seconds, self.result)


def _integers(table: dict[str, np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The table's columns as 64-bit integers, in their order; a fraction is a TypeError."""
    return {name: np.asarray(table[name]).astype(np.int64, casting="safe") for name in names}


def _result_hash(totals: str, tables: dict[str, dict[str, np.ndarray]]) -> str:
    """Over the totals, and over each table: name, columns, number of rows, values by column."""
    digest = hashlib.sha256(totals.encode())
    for name, names in TABLES.items():
        values = np.array([tables[name][column] for column in names], "<i8")
        digest.update(f"\n{name} {' '.join(names)} {values.shape[1]}\n".encode())
        digest.update(values.data)
    return digest.hexdigest()


def _seal(*parts: str | float) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _read_totals(text: str) -> dict[str, int | float]:
    """Totals by name; DamagedRecord unless there are some, and all are numbers or null."""
    try:
        totals = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(f"totals: {error}") from None
    if not isinstance(totals, dict) or not totals:
        raise DamagedRecord("totals: there are none")
    if not all(v is None or type(v) in (int, float) for v in totals.values()):
        raise DamagedRecord("totals: some are not numbers")
    return {name: math.nan if value is None else value for name, value in totals.items()}


def _json(value: Any) -> str:
    return json.dumps(value, default=_jsonable)


def _jsonable(value: Any) -> Any:
    """A NumPy number as Python's; None for what is not finite, which JSON lacks."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, int | float | str | None) else str(value)
