"""How the replayer is built and started: which C library, environment, tunables, processors."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypedDict

from allocsim.cbuild import build
from allocsim.errors import InputError
from allocsim.ground_truth.opstream import Marks

SOURCE = Path(__file__).with_name("replayer.c")
FLAGS = ("-pthread", "-fno-builtin", "-fno-plt", "-Wl,-z,now")
MUSL_COMPILER = "musl-gcc"
KERNEL_HEADERS = ("-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu")
"""The kernel's headers, which musl-gcc does not look for; musl's own come first."""

Tunables = Mapping[str, int | str] | str | None
"""`{"mmap_threshold": 0}`, or `{"glibc.malloc.mmap_threshold": 0}`, or what stands after
`GLIBC_TUNABLES=`, or None for the defaults."""


class Surroundings(TypedDict, total=False):
    """What else may be chosen about the program that makes the calls.

    libc: a folder with another C library, unpacked (`libc.so.6` and its loader somewhere in it).
    program: a replayer that was built otherwise, such as by `build_musl_replayer`.
    environment: further variables, such as MALLOC_ARENA_MAX or LD_PRELOAD; the caller's own
    environment is not passed on. cpus: how many processors the C library is told of, on which the
    number of arenas depends (up to 32,768); a timed replay really runs on so many, at most those
    of the machine. huge_pages: "never" switches
    transparent huge pages off for the program, "system" leaves it to the machine. marks: calls that
    the program makes at marks of these numbers; not in timed replays.
    """

    libc: Path | None
    program: Path | None
    environment: Mapping[str, str] | None
    cpus: int | None
    huge_pages: Literal["system", "never"]
    marks: Marks


def build_replayer(libc: Path | None = None) -> Path:
    """The replayer as a program, linked with the machine's C library or that in folder `libc`.

    Raises InputError where it cannot be built, or where the folder holds no C library.
    """
    if libc is None:
        return build(SOURCE, flags=FLAGS)
    loader = _find(libc, "ld-linux-x86-64.so.2")
    library = _find(libc, "libc.so.6")
    linked = (f"-Wl,--dynamic-linker={loader}", f"-Wl,-rpath,{library.parent}")
    return build(SOURCE, flags=(*FLAGS, *linked))


def build_musl_replayer() -> Path:
    """The replayer linked with musl, by musl-gcc. InputError tells how to get that."""
    compiler = shutil.which(MUSL_COMPILER)
    if compiler is None:
        raise InputError(
            f"{MUSL_COMPILER} was not found; install it (Debian: apt install musl-tools)"
        )
    return build(SOURCE, flags=(*FLAGS, *KERNEL_HEADERS), compiler=(compiler,))


def environment_of(tunables: Tunables, others: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of the program; `tunables` come after those of `others`, and win."""
    strings = ((others or {}).get("GLIBC_TUNABLES", ""), _tunables_string(tunables))
    joined = ":".join(string for string in strings if string)
    return {**(others or {}), **({"GLIBC_TUNABLES": joined} if joined else {})}


def _tunables_string(tunables: Tunables) -> str:
    if not tunables:
        return ""
    if isinstance(tunables, str):
        return tunables.removeprefix("GLIBC_TUNABLES=")
    named = {name if "." in name else f"glibc.malloc.{name}": v for name, v in tunables.items()}
    return ":".join(f"{name}={value}" for name, value in named.items())


def _find(folder: Path, name: str) -> Path:
    """The file called `name` in or below `folder`, nearest to the top."""
    found = sorted(folder.absolute().rglob(name), key=lambda path: len(path.parts))
    if not found:
        raise InputError(f"{folder}: no {name} in it; a C library's package unpacked was expected")
    return Path(os.path.realpath(found[0].parent)) / name
