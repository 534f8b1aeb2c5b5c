"""Which compiled code a run needs, whether it is there, and whether it pays to make it."""

import warnings
from functools import cache
from typing import Any

from allocsim.driver import Driver
from allocsim.engine.batch import drive_signature
from allocsim.errors import InputError
from allocsim.trace import TraceSource

COMPILE_FROM_OPS = 3_000_000
"""Compiling takes as long as interpreting about so many operations."""

MODES = ("auto", "interpreted", "compiled", "mixed")
"""auto: compiled where code is cached or the run long; mixed: compiled from the first sample on."""


def entry_points(meeting: bool) -> dict[str, tuple[Any, ...]]:
    """The driver's methods that a run calls compiled, the one for operations first, with arguments
    of their types. meeting: for threads that meet in simulated time."""
    operations = {"run_ahead": (0,) * 4} if meeting else {"drive": drive_signature()}
    return {**operations, "walk": ()}


def is_warm(driver: Driver, meeting: bool = False) -> bool:
    """Whether the driver's compiled code is cached: of all entry points, or a long compilation
    would wait at the first walk."""
    from allocsim.component.entry import is_cached

    return all(is_cached(type(driver), method) for method in entry_points(meeting))


def compile_all(driver: Driver, meeting: bool) -> None:
    """Compile all entry points, for this run and later ones; NotCompilable where numba refuses."""
    from allocsim.component.entry import entry

    for method, arguments in entry_points(meeting).items():
        entry(type(driver), method, arguments)


def runs_compiled(driver: Driver, source: TraceSource, mode: str, meeting: bool) -> bool:
    """Whether to run compiled: as asked, or where it pays. Compiles what operations need."""
    if mode not in MODES:
        raise InputError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
    if mode == "interpreted" or driver.interpreted_only:
        return False
    from allocsim.component.entry import NotCompilable, entry

    if mode == "auto" and not is_warm(driver, meeting):
        n_ops = source.n_ops
        if n_ops is not None and n_ops < COMPILE_FROM_OPS:
            return False
    method, arguments = next(iter(entry_points(meeting).items()))
    try:
        entry(type(driver), method, arguments)
    except NotCompilable as error:
        if mode != "auto":
            raise
        _warn_once(f"{error}; running it interpreted")
        return False
    return True


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)
