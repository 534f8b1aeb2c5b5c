"""The cache: a folder of what can be made again, written to by several processes at once."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_SCRATCH = "tmp"
_STALE_S = 24 * 3600
"""No compilation and no download takes that long: who left a scratch folder so old was killed."""


def cache_dir() -> Path:
    """The folder of everything that can be rebuilt: $ALLOCSIM_CACHE, else ~/.cache/allocsim.

    $XDG_CACHE_HOME is honoured. The folder is not created here.
    """
    if own := os.environ.get("ALLOCSIM_CACHE"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "allocsim"


@contextlib.contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A folder inside `folder`, which is made too, for files that are renamed into it when whole.

    It is gone afterwards, and so are those of processes that were killed a day ago or earlier.
    Raises OSError where nothing can be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder) as scratch:
        yield Path(scratch)


def _remove_stale(folder: Path) -> None:
    """Others may be removing the same ones: whatever is gone already is no matter."""
    for scratch in folder.glob(f"{_SCRATCH}*/"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - scratch.stat().st_mtime > _STALE_S:
                shutil.rmtree(scratch, ignore_errors=True)
