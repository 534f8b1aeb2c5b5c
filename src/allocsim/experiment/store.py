"""The finished runs of a results folder: segments of many records, each whole or absent.

    results/NAME/runs/*.parquet      segments (see segments.py), in no order, under random names

A run's key covers all that its result depends on, so a run that the folder lacks but another one
beside it has is copied from there. Finished runs wait in memory for a second at most, and go to
the disk together; a segment is written under a temporary name, synced and renamed. What damages it
later is noticed by the records' hashes, and those runs are computed again.
"""

import contextlib
import fcntl
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from allocsim.errors import OutputError
from allocsim.experiment.records import DamagedRecord, Record, StoredRun
from allocsim.experiment.segments import Segment, encode_segment, encode_table
from allocsim.outputs import DRAFT_PREFIX, check_folder, reason_of, write_whole

_FLUSH_AFTER_S = 1.0
_FLUSH_BYTES = 64 << 20
"""What a kill may cost at most, and how much memory waiting records take."""

_SMALL_BYTES = 8 << 20
_MANY_SMALL = 8
"""Segments below that size are merged at the end of a sweep, where there are more than so many."""

_DAMAGE = (OSError, pa.ArrowException, ValueError, KeyError, TypeError, OverflowError, MemoryError)


class StoreError(OutputError):
    """Results cannot be written; what was finished before is kept."""


def cannot_store(path: Path, error: Exception) -> StoreError:
    """The error for results that the system refuses to write, with what to do."""
    return StoreError(
        f"{path}: cannot write: {reason_of(error)}; once that is mended, the same command goes on: "
        "finished runs are kept"
    )


class RunStore:
    """The finished runs below `root`/runs. Any number may read; to write, hold `writing()`."""

    def __init__(self, root: Path):
        self.root = root
        self._runs = root / "runs"
        self._guard = threading.RLock()
        self._waiting: list[Record] = []
        self._waiting_bytes = 0
        self._timer: threading.Timer | None = None
        self._refusal: StoreError | None = None

    @contextlib.contextmanager
    def writing(self) -> Iterator["RunStore"]:
        """Holds the folder's lock, so that two sweeps do not write to it at once.

        At the end, what is still in memory is written, and small segments are merged. StoreError
        where that is impossible or another sweep is writing.
        """
        check_folder(self.root)
        try:
            self._runs.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.root / ".lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise cannot_store(self.root, error) from error
        try:
            self._lock(lock)
            self._remove_drafts()
            try:
                yield self
            finally:
                self.flush()
            with contextlib.suppress(StoreError, OSError):  # no room to merge: all is there still
                self._merge()
        finally:
            os.close(lock)

    def find(self, keys: Iterable[str]) -> dict[str, StoredRun]:
        """The runs of these keys that are there and whole; of several records the latest."""
        wanted = set(keys)
        found: dict[str, tuple[int, StoredRun]] = {}
        for record, run in _search(self._segments(), wanted):
            if run.key not in found or found[run.key][0] < record.written_ns:
                found[run.key] = record.written_ns, run
        return {key: run for key, (_, run) in found.items()}

    def adopt(self, keys: Iterable[str]) -> dict[str, StoredRun]:
        """Copies runs of these keys from the results folders beside this one, and returns them."""
        wanted, adopted = set(keys), {}
        for folder in self._neighbours():
            for record, run in _search(folder.glob("*.parquet"), wanted):
                if run.key not in adopted:
                    adopted[run.key] = run
                    self.write(record)
            wanted -= adopted.keys()
        return adopted

    def record(self, key: str) -> Record | None:
        """The whole record of a run; None when it is absent or damaged."""
        for _ in range(2):  # a sweep that ends may have merged the segment away: look once more
            records = [record for record, _ in _search(self._segments(), {key})]
            if records:
                return max(records, key=lambda record: record.written_ns)
        return None

    def write(self, record: Record) -> None:
        """Stores a finished run within a second; a later record of its key replaces an earlier one.

        StoreError, then or at a later call, when there is no room or no permission.
        """
        with self._guard:
            if self._refusal:
                raise self._refusal
            self._waiting.append(record)
            self._waiting_bytes += record.n_bytes
            if self._waiting_bytes > _FLUSH_BYTES:
                self.flush()
            elif self._timer is None:
                self._timer = threading.Timer(_FLUSH_AFTER_S, self._flush_in_background)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Writes all finished runs that are still in memory; StoreError, and they stay there."""
        with self._guard:
            if self._timer:
                self._timer.cancel()
                self._timer = None
            if self._waiting:
                self._write_segment(encode_segment(self._waiting))
                self._waiting, self._waiting_bytes = [], 0
            self._refusal = None

    def _flush_in_background(self) -> None:
        with self._guard:
            try:
                self.flush()
            except StoreError as error:
                self._refusal = error  # for the next call of the sweep itself

    def _write_segment(self, content: bytes) -> None:
        try:
            write_whole(self._runs / f"{os.urandom(8).hex()}.parquet", content)
        except OSError as error:
            raise cannot_store(self.root, error) from error

    def _lock(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"{self.root}: another sweep is writing there; wait for it"
            raise StoreError(message) from None
        except OSError as error:
            raise cannot_store(self.root, error) from error

    def _remove_drafts(self) -> None:
        """Removes what killed writers left behind; only while nobody else writes."""
        for folder in (self.root, self._runs):
            for draft in folder.glob(f"{DRAFT_PREFIX}*"):
                with contextlib.suppress(OSError):
                    draft.unlink()

    def _segments(self) -> list[Path]:
        return list(self._runs.glob("*.parquet"))

    def _neighbours(self) -> list[Path]:
        """The `runs` of the other results folders beside this one that only this user can fill."""
        own = self._runs.resolve()
        beside = own.parent.parent.glob("*/runs")
        return [folder for folder in beside if folder.resolve() != own and _is_ours(folder)]

    def _merge(self) -> None:
        """Makes few segments of many small ones; a kill in between leaves records twice."""
        small = [path for path in self._segments() if path.stat().st_size < _SMALL_BYTES]
        if len(small) > _MANY_SMALL:
            for batch in _batches(small):
                self._merge_batch(batch)

    def _merge_batch(self, batch: list[Path]) -> None:
        tables = {path: table for path in batch if (table := _whole_table(path)) is not None}
        if len(tables) > 1:
            self._write_segment(encode_table(pa.concat_tables(tables.values())))
            for path in tables:
                path.unlink()


def _search(segments: Iterable[Path], keys: set[str]) -> Iterator[tuple[Record, StoredRun]]:
    """The sound records of these keys. A segment that vanishes or is damaged has none."""
    for path in segments if keys else ():
        with contextlib.suppress(*_DAMAGE), Segment(path) as segment:
            for group in range(segment.n_groups):
                with contextlib.suppress(*_DAMAGE):
                    yield from _sound(segment, group, keys)


def _sound(segment: Segment, group: int, keys: set[str]) -> Iterator[tuple[Record, StoredRun]]:
    if keys.isdisjoint(segment.keys(group)):
        return
    for record in segment.records(group):
        if record.key in keys:
            with contextlib.suppress(DamagedRecord):
                yield record, record.checked()


def _is_ours(folder: Path) -> bool:
    """Whether nobody else may have put records there, apart from root and a group that we chose."""
    try:
        status = folder.stat()
    except OSError:
        return False
    return status.st_uid == os.geteuid() and not status.st_mode & stat.S_IWOTH


def _batches(segments: list[Path]) -> Iterator[list[Path]]:
    """The segments in groups of about the size that a merged one may have."""
    batch: list[Path] = []
    n_bytes = 0
    for path in segments:
        batch.append(path)
        n_bytes += path.stat().st_size
        if n_bytes > _SMALL_BYTES:
            yield batch
            batch, n_bytes = [], 0
    yield batch


def _whole_table(path: Path) -> pa.Table | None:
    try:
        with Segment(path) as segment:
            return segment.table()
    except _DAMAGE:
        return None
