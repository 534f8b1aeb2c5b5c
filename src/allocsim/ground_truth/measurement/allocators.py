"""Real allocators by name: where they are found, and how the replayer is run with them."""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from allocsim.errors import InputError, suggestion
from allocsim.ground_truth.replay import replay
from allocsim.ground_truth.start import Surroundings, build_musl_replayer
from allocsim.trace import Trace

PRELOAD = "LD_PRELOAD"
LIBC = "libc.so.6"


@dataclass(frozen=True)
class Library:
    """An allocator that is put in front of the C library's: its file, and how to get it."""

    file: str
    package: str


PRELOADED = {
    "jemalloc": Library("libjemalloc.so.2", "libjemalloc2"),
    "tcmalloc": Library("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
    "mimalloc": Library("libmimalloc.so.2", "libmimalloc2.0"),
    "tbbmalloc": Library("libtbbmalloc_proxy.so.2", "libtbbmalloc2"),
}
NAMES = ("glibc", "glibc-VERSION", *PRELOADED, "musl", "a path such as ./my_malloc.so")


@dataclass(frozen=True)
class Allocator:
    """An allocator that can be run here.

    name: as it was asked for. library: the file that serves the calls, "" for the machine's own C
    library. surroundings: what `replay` and `time_replay` need for it.
    """

    name: str
    library: str = ""
    surroundings: Surroundings = field(default_factory=lambda: Surroundings())

    @property
    def is_glibc(self) -> bool:
        """Whether GLIBC_TUNABLES mean something to it."""
        return self.name == "glibc" or self.name.startswith("glibc-")

    def with_environment(self, variables: Mapping[str, str]) -> Surroundings:
        """The surroundings, with further variables."""
        merged = dict(self.surroundings.get("environment") or {}) | dict(variables)
        return Surroundings(**{**self.surroundings, "environment": merged})


def find_allocator(name: str) -> Allocator:
    """The allocator called `name`; InputError tells how to install it, or what names there are."""
    if name == "glibc":
        return Allocator(name)
    if name == "musl":
        program = build_musl_replayer()
        return Allocator(name, str(_interpreter()), Surroundings(program=program))
    if name.startswith("glibc-"):
        return _fetched(name)
    if name in PRELOADED:
        library = PRELOADED[name]
        found = _installed(library.file)
        if found is None:
            raise InputError(
                f"{name} is not installed: no {library.file} "
                f"(Debian: apt install {library.package}); "
                "another build can be given by its path"
            )
        return _preloaded(name, found)
    if "/" in name or name.endswith(".so"):
        return _given(name)
    raise InputError(_unknown(name))


def _unknown(name: str) -> str:
    hint = suggestion(name, NAMES, ("glibc", "musl", *PRELOADED))
    return f"unknown allocator {name!r}; {hint}"


def _fetched(name: str) -> Allocator:
    """A glibc of another version than the machine's, from the cache of unpacked packages."""
    from allocsim.ground_truth.libc_packages import libc_for

    folder = libc_for(name.removeprefix("glibc-"))
    return Allocator(name, str(folder or ""), Surroundings(libc=folder))


def _given(name: str) -> Allocator:
    path = Path(name).absolute()
    if not path.is_file():
        raise InputError(f"{name}: no such file; give the shared library of an allocator")
    allocator = _preloaded(name, path)
    _check_malloc(allocator)
    return allocator


def _check_malloc(allocator: Allocator) -> None:
    """Refuse a library without malloc, or one that the loader ignores: glibc's would be called."""
    nothing = Trace.of(op=[], object=[], size=[])
    found = replay(nothing, syscalls=False, **allocator.surroundings).malloc_file
    if Path(found).name == LIBC:
        raise InputError(
            f"{allocator.name}: no malloc in it that the loader takes; "
            "give the shared library of an allocator"
        )


def _preloaded(name: str, path: Path) -> Allocator:
    return Allocator(name, str(path), Surroundings(environment={PRELOAD: str(path)}))


def _interpreter() -> Path:
    """musl's loader, which is musl itself."""
    return Path("/lib/ld-musl-x86_64.so.1")


def _installed(file: str, listing: Callable[[], str] | None = None) -> Path | None:
    """Where the system's loader finds a library, or None."""
    for line in (listing or _loadable)().splitlines():
        named, _, path = line.partition(" => ")
        if named.split()[:1] == [file] and "x86-64" in named:
            return Path(path)
    return None


@cache
def _loadable() -> str:
    """All libraries that the loader knows."""
    for program in ("ldconfig", "/sbin/ldconfig"):
        try:
            return subprocess.run(
                [program, "-p"], capture_output=True, text=True, check=True
            ).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
    return ""
