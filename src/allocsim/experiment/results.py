"""The results of an experiment as a whole, read back from `runs.parquet` and `manifest.json`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from allocsim.errors import InputError
from allocsim.experiment.store import FORMAT, RunStore, StoredRun


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

    def stored(self, row: dict[str, Any]) -> StoredRun:
        """The run behind a row, for its curves over time; InputError if it is gone or damaged."""
        found = RunStore(self.folder).find(row["key"])
        if found is None:
            raise InputError(f"{self.folder}/runs/{row['key']}: missing or damaged; run it again")
        return found


def read_results(folder: str | Path) -> Results:
    """The results in a folder such as `results/threshold`; InputError when there are none."""
    folder = Path(folder)
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        rows = pq.read_table(folder / "runs.parquet").to_pylist()
    except (OSError, ValueError) as error:
        reason = "no results there" if isinstance(error, FileNotFoundError) else str(error)
        raise InputError(
            f"{folder}: {reason}; `allocsim run EXPERIMENT` makes a folder of results"
        ) from None
    if manifest.get("format") != FORMAT:
        raise InputError(f"{folder}: results of format {manifest.get('format')}; run it again")
    if not rows:
        raise InputError(f"{folder}: none of its runs ended well; its manifest.json says why")
    for row in rows:
        row["parameters"] = json.loads(row["parameters"])
    return Results(folder, manifest, rows)
