"""Opens files that users name: ordinary ones only, and no more bytes than such a file can have.

A device, a pipe or a folder is refused before anything is read from it, and a file that is too
large before it fills memory. Every failure is an InputError of one line that begins with the path.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from allocsim.errors import InputError, printable

MAX_TEXT_BYTES = 2 << 20
"""Experiments, workloads, cost tables and maps; the largest shipped one has 20 KiB."""


def open_input(path: str | Path, max_bytes: int | None = None) -> BinaryIO:
    """The ordinary file at `path`, open for reading; with `max_bytes`, if it is no larger.

    Raises InputError.
    """
    try:
        # Opening a FIFO would wait for a writer, and opening a device may do anything.
        _check(path, Path(path).stat(), max_bytes)
        return Path(path).open("rb")
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    except ValueError:
        raise _unreadable(path, "no file can have this name") from None


def check_input(path: str | Path, max_bytes: int | None = None) -> None:
    """Raises InputError unless `open_input` would open the file: for libraries that open it."""
    open_input(path, max_bytes).close()


def is_file(path: str | Path) -> bool:
    """Whether there is an ordinary file; False too for names that no file can have."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def read_bytes(path: str | Path, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """The whole content of an ordinary file; InputError if it has more than `max_bytes`."""
    with open_input(path, max_bytes) as file:
        try:
            # Files of /proc have no size, and others may grow.
            content = file.read(max_bytes + 1)
        except OSError as error:
            raise _unreadable(path, error.strerror or str(error)) from None
    if len(content) > max_bytes:
        raise _too_large(path, max_bytes)
    return content


def read_text(path: str | Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """The whole content of an ordinary UTF-8 text file; InputError names the line that is none."""
    content = read_bytes(path, max_bytes)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{printable(path)}:{line}: cannot be read: not a UTF-8 text"
            f" (byte 0x{content[error.start]:02x})"
        ) from None


def _check(path: str | Path, status: os.stat_result, max_bytes: int | None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise _unreadable(path, "it is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise _unreadable(path, "it is a device, a pipe or a socket, not an ordinary file")
    if max_bytes is not None and status.st_size > max_bytes:
        raise _too_large(path, max_bytes)


def _too_large(path: str | Path, max_bytes: int) -> InputError:
    return _unreadable(path, f"it has more than {max_bytes:,} bytes, the most for such a file")


def _unreadable(path: str | Path, reason: str) -> InputError:
    return InputError(f"{printable(path)}: cannot be read: {reason}")
