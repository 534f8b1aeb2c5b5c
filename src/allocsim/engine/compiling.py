"""Which compiled code a run needs, whether it is there, and whether it pays to make it."""

import re
import warnings
from collections.abc import Iterable
from functools import cache
from typing import Any

from allocsim.driver import Driver
from allocsim.engine.batch import drive_signature, no_samples
from allocsim.errors import InputError

COMPILE_FROM_OPS = 3_000_000
"""Compiling takes as long as interpreting about so many operations."""

# The methods, with "(file:line)", that take the addresses which a policy returns.
_WITH_ADDRESS = re.compile(r"\b(Memory\.visit|Driver\.(hold|placed|drive|other|reallocate)) \(")

MODES = ("auto", "interpreted", "compiled", "mixed")
"""auto: compiled where code is cached or the run long; mixed: compiled from the first sample on."""


def entry_points(threaded: bool, huge_pages: bool) -> dict[str, tuple[Any, ...]]:
    """The driver's methods that a run calls compiled, the one for ops first, with arguments of
    their types.

    threaded: threads meet in simulated time. huge_pages: khugepaged runs beside the program.
    """
    if threaded:
        ops: dict[str, tuple[Any, ...]] = {"run_ahead": (0,) * 4}
    elif huge_pages:
        ops = {"drive_until": (*drive_signature(), 0)}
    else:
        return {"drive_sampled": (*drive_signature(), *no_samples())}
    background: dict[str, tuple[Any, ...]] = {"collapse": (0,)} if huge_pages else {}
    return {**ops, "walk": (), **background}


def is_warm(cls: type[Driver], points: Iterable[str]) -> bool:
    """Whether the compiled code of all entry points is loaded or cached: else a long compilation
    would wait at the first walk."""
    from allocsim.component.entry import is_cached, is_loaded

    return all(is_loaded(cls, method) or is_cached(cls, method) for method in points)


def compile_all(cls: type[Driver], points: dict[str, tuple[Any, ...]]) -> None:
    """Compile all entry points, for this run and later ones; NotCompilable where numba refuses."""
    for method, arguments in points.items():
        _compile(cls, method, arguments)


def _compile(cls: type[Driver], method: str, arguments: tuple[Any, ...]) -> None:
    """Compile one entry point; NotCompilable says so if what the policy returns is no address."""
    from allocsim.component.entry import NotCompilable, entry

    try:
        entry(cls, method, arguments)
    except NotCompilable as error:
        if not _WITH_ADDRESS.search(str(error)):
            raise
        raise NotCompilable(
            f"{cls._fields['policy'].cls.__name__} cannot be compiled: malloc, calloc, realloc or "
            "aligned_alloc returns something else than an address (None, a float); it must return "
            "an int in all cases, and 0 when memory is exhausted"
        ) from error


def runs_compiled(
    driver: Driver, n_ops: int | None, mode: str, points: dict[str, tuple[Any, ...]]
) -> bool:
    """Whether to run compiled: as asked, or where it pays. Compiles what ops need."""
    if mode not in MODES:
        raise InputError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
    if mode == "interpreted" or driver.interpreted_only:
        return False
    from allocsim.component.entry import NotCompilable

    pays = n_ops is None or n_ops >= COMPILE_FROM_OPS
    if mode == "auto" and not pays and not is_warm(type(driver), points):
        return False
    method, arguments = next(iter(points.items()))
    try:
        _compile(type(driver), method, arguments)
    except NotCompilable as error:
        if mode != "auto":
            raise
        _warn_once(f"{error}; running it interpreted")
        return False
    return True


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)
