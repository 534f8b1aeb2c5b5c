"""The cache: folders of what can be made again, written to by several processes at once.

Code from the cache is run, so a folder counts only if nobody but its user, or root, can have put
anything there.
"""

import contextlib
import functools
import os
import pwd
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from allocsim.errors import InputError, OutputError
from allocsim.outputs import check_folder, reason_of

ELSEWHERE = "set ALLOCSIM_CACHE to a folder of your own"
_SCRATCH = "tmp"
_STALE_S = 24 * 3600
"""No compilation and no download takes that long: a scratch folder so old is a killed process's."""
_PRIVATE = 0o700
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_dir() -> Path:
    """The folder of everything that can be rebuilt: $ALLOCSIM_CACHE, else ~/.cache/allocsim.

    $XDG_CACHE_HOME is honoured where it is absolute, as its specification says. The folder is not
    created here. Raises InputError where no home folder is known.
    """
    try:
        if own := os.environ.get("ALLOCSIM_CACHE"):
            return Path(own).expanduser().absolute()
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (base if base.is_absolute() else Path.home().absolute() / ".cache") / "allocsim"
    except RuntimeError as error:  # no HOME, and no such user
        raise InputError(f"no home folder for the cache: {error}; {ELSEWHERE}") from None


def cache_folder(name: str) -> Path:
    """The cache's folder of that name, which need not exist.

    Raises OutputError where others own it or can write to it, or to the cache: the message says how
    to mend that.
    """
    folder = cache_dir() / name
    for each in (folder.parent, folder):
        with explained(each), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            _check_private(each)
    return folder


def trusted_folder(name: str) -> Path | None:
    """The same folder to read from; None, with a warning, where it is refused."""
    try:
        return cache_folder(name)
    except InputError as error:
        _warn_once(f"{error}; what is compiled is not kept")
        return None


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)


def make_cache_folder(name: str) -> Path:
    """The same folder, made with mode 0700 unless it is there.

    Raises OutputError also where it cannot be made or takes no files.
    """
    folder = cache_folder(name)
    _refuse_under_sudo(folder.parent)
    try:
        check_folder(folder)
    except OutputError as error:
        raise OutputError(f"{error}; {ELSEWHERE}") from None
    with explained(folder):
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for each in (folder.parent, folder):
            each.mkdir(mode=_PRIVATE, exist_ok=True)
    return cache_folder(name)


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Around uses of a folder of the cache: an OSError becomes an OutputError with the mend."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder}: cannot write: {reason_of(error)}; {ELSEWHERE}") from error


def is_private(status: os.stat_result) -> bool:
    """Whether nobody but this user, or root, can have written what has that status."""
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & _OTHERS_WRITE


@contextlib.contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """A new folder, inside the cache's folder of that name, for files that `publish` moves there.

    It is gone afterwards, and so are those of processes that were killed a day ago or earlier.
    Raises OutputError where nothing can be written, and makes one of each OSError within.
    """
    folder = make_cache_folder(name)
    with explained(folder):
        _remove_stale(folder)
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder) as scratch:
            yield Path(scratch)


def publish(made: Path, target: Path) -> None:
    """Give a complete file or folder its name in the cache: on disk first, then visible.

    Others never have the right to write to it, whatever the umask. A file replaces anything, a
    folder only an empty one.
    """
    files = sorted(made.rglob("*")) if made.is_dir() else []
    for path in (*files, made):
        path.chmod(path.stat().st_mode & ~_OTHERS_WRITE)
        _sync(path)
    if made.is_file() and target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)  # under the name of a file it only stands in the way
    made.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _check_private(folder: Path) -> None:
    status = folder.stat()
    if is_private(status):
        return
    if status.st_uid not in (os.geteuid(), 0):
        raise OutputError(
            f"{folder}: this cache belongs to {_user(status.st_uid)}, and its code would run as "
            f"{_user(os.geteuid())}; {ELSEWHERE}"
        )
    raise OutputError(
        f"{folder}: other users can write to this cache, and its code is run; "
        f"remove it, or if you trust them: chmod go-w {folder}"
    )


def _refuse_under_sudo(folder: Path) -> None:
    """Leave no folder of root's in the home of the user that called sudo."""
    caller = os.environ.get("SUDO_UID")
    if os.geteuid() != 0 or caller in (None, "0") or folder.exists():
        return
    nearest = next(place for place in folder.parents if place.exists())
    if str(nearest.stat().st_uid) == caller:
        raise OutputError(
            f"{folder}: would belong to root in a folder of {_user(int(caller))}; "
            f"use sudo -H, or {ELSEWHERE}"
        )


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container knows few
        return f"user {number}"


def _remove_stale(folder: Path) -> None:
    """Others may be removing the same ones: a folder that is gone already does not matter."""
    for scratch in folder.glob(f"{_SCRATCH}*/"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - scratch.stat().st_mtime > _STALE_S:
                shutil.rmtree(scratch, ignore_errors=True)
