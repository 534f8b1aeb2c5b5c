"""Results on disk: one directory per run, whole or absent.

    results/NAME/
      manifest.json    what was asked, on which machine, what failed or is missing, the turns
      runs.parquet     a row per finished run: workload, policy, parameters, seed, all totals
      index.sqlite     the same totals by key, for queries; follows what `runs/` holds
      runs/KEY/        manifest.json (the run, its totals, hashes of the tables),
                       samples.parquet (memory over time), walks.parquet (the heap over time),
                       threads.parquet (where each simulated thread's time went)

A run is written under a temporary name and renamed, so a directory called by a key is whole; what
damages it later is noticed by the hashes, and the run is computed again.
"""

import hashlib
import json
import math
import shutil
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from allocsim.errors import OutputError
from allocsim.experiment.sweep import Run
from allocsim.outputs import reason_of

FORMAT = 2
"""Version of the layout above; another one is not read but computed again."""

_TABLES = ("samples", "walks", "threads")


class StoreError(OutputError):
    """Results cannot be written; what was finished before is kept."""


def cannot_store(path: Path, error: Exception) -> StoreError:
    """What to tell of results that the system refuses, and what to do."""
    return StoreError(
        f"{path}: cannot write: {reason_of(error)}; once that is mended, the same command goes on: "
        "finished runs are kept"
    )


@dataclass(frozen=True)
class StoredRun:
    """A finished run: its key and description, totals by name, seconds it took, its directory."""

    key: str
    run: dict[str, Any]
    totals: dict[str, float]
    seconds: float
    folder: Path

    def table(self, name: str) -> dict[str, np.ndarray]:
        """The columns of its `samples`, `walks` or `threads`."""
        table = pq.read_table(self.folder / f"{name}.parquet")
        return {column: table[column].to_numpy() for column in table.column_names}


class RunStore:
    """The finished runs below `root`/runs."""

    def __init__(self, root: Path):
        self.root = root
        self._runs = root / "runs"

    def find(self, key: str) -> StoredRun | None:
        """The run of that key; None when it is absent, damaged, or of another format."""
        folder = self._runs / key
        try:
            told = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            sound = told["format"] == FORMAT and told["key"] == key
            hashes = told["tables"]
            sound = sound and all(_hash(folder / name) == hashes[name] for name in hashes)
            totals = {k: math.nan if v is None else v for k, v in told["totals"].items()}
            stored = StoredRun(key, told["run"], totals, float(told["seconds"]), folder)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return stored if sound else None

    def write(self, run: Run, result: Any, seconds: float) -> StoredRun:
        """Stores a result under the run's key, replacing what is there.

        StoreError, with what to do, when there is no room or no permission.
        """
        try:
            self._runs.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self._runs))
        except OSError as error:
            raise cannot_store(self.root, error) from error
        try:
            self._fill(draft, run, result, seconds)
            _put_in_place(draft, self._runs / run.key)
        except OSError as error:
            raise cannot_store(self.root, error) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        stored = self.find(run.key)
        if stored is None:
            raise StoreError(f"{self._runs / run.key}: reads back wrong; is the disk sound?")
        return stored

    def keys(self) -> set[str]:
        """The keys of all directories there are, sound or not."""
        if not self._runs.is_dir():
            return set()
        return {f.name for f in self._runs.iterdir() if not f.name.startswith(".")}

    def remove_drafts(self) -> None:
        """Removes what killed writers left behind; only while nobody writes."""
        for draft in self._runs.glob(".draft-*"):
            shutil.rmtree(draft, ignore_errors=True)

    def _fill(self, draft: Path, run: Run, result: Any, seconds: float) -> None:
        for name in _TABLES:
            pq.write_table(pa.table(getattr(result, name)), draft / f"{name}.parquet")
        told = {
            "format": FORMAT,
            "key": run.key,
            "run": asdict(run),
            "totals": {k: _jsonable(v) for k, v in result.totals.items()},
            "provenance": result.provenance,
            "tables": {file.name: _hash(file) for file in draft.iterdir()},
            "seconds": round(seconds, 3),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        text = json.dumps(told, indent=1, default=_jsonable)
        (draft / "manifest.json").write_text(text, encoding="utf-8")


def _put_in_place(draft: Path, folder: Path) -> None:
    """Renames a whole directory to its key; an old one steps aside first."""
    if folder.exists():
        aside = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent)) / "old"
        folder.rename(aside)
        shutil.rmtree(aside.parent, ignore_errors=True)
    draft.chmod(0o755)
    draft.rename(folder)


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _jsonable(value: Any) -> Any:
    """A NumPy number as Python's; None for what is not finite, which JSON lacks."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, int | float | str | None) else str(value)
