"""The results of an experiment as a whole, read back from `runs.parquet` and `manifest.json`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from allocsim.errors import InputError, printable
from allocsim.experiment.manifest import read_manifest, sha256_of
from allocsim.experiment.records import Record
from allocsim.experiment.store import RunStore
from allocsim.input_files import open_input


@dataclass(frozen=True)
class Results:
    """A results folder read back. Each row is a run: names, parameters, seed, key, totals."""

    folder: Path
    manifest: dict[str, Any]
    rows: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.manifest["name"])

    def stored(self, row: dict[str, Any]) -> Record:
        """The run behind a row, for its curves over time; InputError if it is gone or damaged."""
        record = RunStore(self.folder).record(row["key"])
        if record is None or record.result != row["result"]:
            where = f"{printable(self.folder / 'runs')}: the run {printable(row['key'])}"
            raise InputError(
                f"{where} is missing or damaged; `allocsim run EXPERIMENT` computes it again"
            )
        return record


def read_results(folder: str | Path) -> Results:
    """The results in a folder such as `results/threshold`; InputError when there are none."""
    folder = Path(folder)
    file = folder / "manifest.json"
    if not file.exists():
        raise InputError(
            f"{printable(folder)}: no results there; `allocsim run EXPERIMENT` makes a folder of "
            "results"
        )
    manifest = read_manifest(file)
    rows = _read_rows(folder / "runs.parquet", manifest["runs_sha256"])
    if not rows:
        raise InputError(
            f"{printable(folder)}: none of its runs ended well; its manifest.json says why"
        )
    return Results(folder, manifest, rows)


def _read_rows(path: Path, sha256: str) -> list[dict[str, Any]]:
    """The rows of `runs.parquet`, if it is the one that the manifest speaks of."""
    try:
        with open_input(path) as file:
            content = file.read()
        if sha256_of(content) != sha256:
            raise ValueError
        rows = pq.read_table(pa.BufferReader(content)).to_pylist()
        return [row | {"parameters": json.loads(row["parameters"])} for row in rows]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(
            f"{printable(path)}: damaged, or not of the same sweep as manifest.json; "
            "`allocsim run EXPERIMENT` makes it anew from the runs that are there"
        ) from None
