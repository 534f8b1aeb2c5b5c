"""Compiles a policy in the background once it has been simulated often enough to pay for it."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from allocsim.cache import make_cache_folder, trusted_folder
from allocsim.compile_ahead import CHILD, Code, as_text
from allocsim.component.source import key
from allocsim.errors import AllocsimError

FOLDER = "uses"
WORTH_OPS = 1_000_000
"""Interpreted ops of a policy, over all its runs, that make another run probable."""

_MOST_BYTES = 1 << 16


def note_use(code: Code, n_ops: int) -> bool:
    """Note that `code` was interpreted for so many ops; whether a process now compiles it.

    The process ends by itself, whatever becomes of this one. Where the cache cannot be used,
    nothing is noted.
    """
    with contextlib.suppress(AllocsimError, OSError):
        notes = _notes_of(code)
        before = _noted_ops(notes)
        if before >= WORTH_OPS:  # it was started then
            return False
        _append(notes, n_ops)
        if before + n_ops >= WORTH_OPS:
            _start(code)
            return True
    return False


def _notes_of(code: Code) -> Path:
    """The file that holds the ops of each use, a line each."""
    make_cache_folder(FOLDER)
    folder = trusted_folder(FOLDER)
    if folder is None:
        raise AllocsimError("the cache cannot be used")
    name = f"{key(code.driver_class())}-{code.threaded}"  # type: ignore[arg-type]
    return folder / hashlib.sha256(name.encode()).hexdigest()[:32]


def _noted_ops(notes: Path) -> int:
    try:
        with notes.open("rb") as file:
            lines = file.read(_MOST_BYTES).split()
    except FileNotFoundError:
        return 0
    return sum(int(line) for line in lines if line.isdigit())


def _append(notes: Path, n_ops: int) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    number = os.open(notes, flags, 0o600)
    try:
        os.write(number, b"%d\n" % n_ops)
    finally:
        os.close(number)


def _start(code: Code) -> None:
    subprocess.Popen(
        ["nice", sys.executable, "-c", CHILD, json.dumps(sys.path), as_text(code)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
