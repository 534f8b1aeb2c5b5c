"""Finds the program to be recorded and refuses, before it runs, what cannot be preloaded into."""

import os
import shutil
import stat
import struct
from pathlib import Path

from allocsim.errors import InputError

_PT_INTERP = 3
_SCRIPT_DEPTH = 4  # as many interpreters of interpreters as Linux follows


def find_program(name: str) -> Path:
    """The file that the shell would run for `name`; raises InputError if there is none."""
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    if "/" in name and Path(name).is_file():
        raise InputError(f"{name}: this file is not executable; chmod +x it")
    where = "" if "/" in name else " on the PATH"
    raise InputError(f"{name}: there is no such program{where}")


def gains_privileges(program: Path) -> bool:
    """Whether the kernel gives `program` another user's or group's rights; it ignores preloads."""
    mode = program.stat().st_mode
    return bool(mode & (stat.S_ISUID | stat.S_ISGID))


def check_recordable(program: Path) -> None:
    """Raise InputError unless the loader will take the recorder into `program`.

    A script is judged by its interpreter.
    """
    for _ in range(_SCRIPT_DEPTH):
        with program.open("rb") as file:
            start = file.read(256)
        if not start.startswith(b"#!"):
            break
        words = start[2:].split(b"\n")[0].split()
        program = Path(os.fsdecode(words[0])) if words else program
        if not program.is_file():
            raise InputError(f"{program}: there is no such interpreter")
    if start.startswith(b"\x7fELF"):
        _check_binary(program)


def _check_binary(program: Path) -> None:
    data = program.read_bytes()[: 2**16]
    own = Path("/proc/self/exe").read_bytes()[:20]
    if data[4] != own[4] or data[18:20] != own[18:20]:
        raise InputError(f"{program}: built for another processor than this Python; cannot record")
    loader = _loader(data)
    if loader is None:
        raise InputError(
            f"{program}: statically linked, so nothing can be preloaded into it; "
            "record a dynamically linked build of the program"
        )
    if "musl" in loader:
        raise InputError(
            f"{program}: linked to musl, and the recorder is built for this system's C library; "
            "record a build for glibc"
        )


def _loader(data: bytes) -> str | None:
    """The dynamic loader that a 64-bit ELF file asks for; None if it is statically linked."""
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for at in range(offset, min(offset + size * count, len(data) - size + 1), size):
        kind, _, start = struct.unpack_from("<IIQ", data, at)
        (length,) = struct.unpack_from("<Q", data, at + 32)
        if kind == _PT_INTERP:
            return data[start : start + length].rstrip(b"\0").decode(errors="replace")
    return None
