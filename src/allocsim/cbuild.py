"""Builds the package's small C helpers with the user's own compiler, once, into a cache.

The wheel carries C source only, so that installing needs no compiler and the helpers fit the C
library of the machine that they run on. A helper is found in the cache by a hash of everything that
it was made from: an edit, another compiler or other flags give another file, never a stale one.
Each file ends with a hash of itself: a damaged one is built again.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from allocsim.cache import cache_folder, publish, scratch_folder
from allocsim.errors import InputError
from allocsim.sealed import seal, sealed_content

COMPILERS = ("cc", "gcc", "clang")
BASE_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")

_FOLDER = "built"  # of the cache
_building = threading.Lock()


def build(
    source: Path,
    *,
    shared: bool = False,
    flags: Sequence[str] = (),
    compiler: tuple[str, ...] | None = None,
) -> Path:
    """Compile the C file `source` unless it is in the cache, and return the program or library.

    `flags` come after the source on the command line, so they may name libraries (`-lpthread`).
    Headers beside the source, and in the folder above, count as part of it. `shared` builds a
    shared library. `compiler` is a command other than `find_compiler`'s. Safe to call from several
    processes and threads at once. Raises `InputError` without a compiler, when compiling fails, and
    when the cache cannot be written or others can write to it.
    """
    compiler = compiler or find_compiler()
    options = [*BASE_FLAGS, *(["-shared", "-fPIC"] if shared else []), str(source), *flags]
    target = _target(source, shared, _key(source, compiler, options))
    with _building:
        if sealed_content(target) is None:
            _compile(compiler, options, target)
    return target


def find_compiler() -> tuple[str, ...]:
    """The compiler as a command: $CC (which may hold arguments), else the first of `COMPILERS`."""
    if chosen := shlex.split(os.environ.get("CC", "")):
        if shutil.which(chosen[0]) is None:
            raise InputError(f"the compiler {chosen[0]!r}, named by CC, was not found")
        return tuple(chosen)
    for name in COMPILERS:
        if shutil.which(name) is not None:
            return (name,)
    raise InputError(
        "this command needs a C compiler, and none of cc, gcc, clang was found; "
        "install one (Debian: apt install gcc libc6-dev) or set CC"
    )


@lru_cache
def _identity(compiler: tuple[str, ...], path: str) -> str:
    """What `compiler` says of itself; `path` is its resolved program, so a new PATH asks again."""
    answer = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False)
    return f"{compiler} {path} {answer.stdout}"


def _key(source: Path, compiler: tuple[str, ...], options: Sequence[str]) -> str:
    """A hash of the sources, options and compiler, whatever folder the source lies in."""
    digest = hashlib.sha256(_identity(compiler, shutil.which(compiler[0]) or "").encode())
    digest.update(repr([o for o in options if o != str(source)]).encode())
    headers = [h for folder in (source.parent, source.parent.parent) for h in folder.glob("*.h")]
    for file in [source, *sorted(headers)]:
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _target(source: Path, shared: bool, key: str) -> Path:
    return cache_folder(_FOLDER) / f"{source.stem}-{key}{'.so' if shared else ''}"


def _compile(compiler: tuple[str, ...], options: Sequence[str], target: Path) -> None:
    """Compile to a temporary name, then rename: a reader sees a whole file or none."""
    with scratch_folder(_FOLDER) as folder:
        made = folder / target.name
        _run_compiler([*compiler, "-o", str(made), *options])
        seal(made)
        publish(made, target)


def _run_compiler(command: list[str]) -> None:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise InputError(f"{shlex.join(command)} failed:\n{answer.stderr.strip()}")
