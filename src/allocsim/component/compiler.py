"""Compiled mode: entry points into component trees, cached on disk.

An entry point takes the address of the root's record; nothing is converted or copied on the way.
"""

import gc
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
from numba import types

from allocsim.cbuild import cache_dir
from allocsim.component.base import Component
from allocsim.component.method_compiler import (
    EntryCompiler,
    Refused,
    set_environments,
    without_timers,
)
from allocsim.component.records import pointer_cast, record_type
from allocsim.component.refusals import explain_refusal
from allocsim.component.source import key
from allocsim.errors import AllocsimError


class NotCompilable(AllocsimError):
    """A component tree that numba refuses; the message names method, line and reason."""


_entries: dict[tuple, Callable] = {}
_calls: dict[tuple, Callable] = {}  # the entries by what `entry` was asked for
_refused: dict[type, NotCompilable] = {}


def entry(cls: type[Component], method: str, arguments: tuple[Any, ...]) -> Callable:
    """The compiled `cls.method`, as a function of (record address, *arguments).

    Compiled on first use and cached on disk under a hash of the whole tree (`source.key`).
    Raises NotCompilable, naming method and line, when numba refuses the tree.
    """
    if cls in _refused:
        raise _refused[cls]
    kinds = (cls, method, *map(_kind_of, arguments))
    if kinds not in _calls:
        _calls[kinds] = _made_entry(cls, method, arguments)
    return _calls[kinds]


def _kind_of(argument: Any) -> Any:
    """What numba's type of an argument depends on: numba takes long to tell."""
    if isinstance(argument, np.ndarray):
        return argument.dtype, argument.ndim, argument.flags.num
    return type(argument)


def _made_entry(cls: type[Component], method: str, arguments: tuple[Any, ...]) -> Callable:
    signature = (types.int64, *map(numba.typeof, arguments))
    if (cls, method, signature) not in _entries:
        module = _entry_module(cls, method, len(arguments))
        try:
            with warnings.catch_warnings(), _no_garbage_collection(), without_timers():
                warnings.simplefilter("ignore")
                module.entry.compile(signature)
                set_environments(module.entry, signature)
        except (numba.errors.NumbaError, Refused) as error:
            _refused[cls] = NotCompilable(explain_refusal(cls, str(error)))
            raise _refused[cls] from None
        _entries[cls, method, signature] = module.entry
    return _entries[cls, method, signature]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Numba makes millions of objects and hardly any garbage: looking for it takes a tenth of the
    time."""
    wanted = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if wanted:
            gc.enable()


def is_cached(cls: type[Component], method: str) -> bool:
    """Whether the machine code of `cls.method` is already on disk or in this process."""
    name = _entry_name(cls, method)  # type: ignore[arg-type]
    return any((cache_dir() / "compiled" / "__pycache__").glob(f"{name}.entry*.nbc"))


@cache
def _entry_name(cls: type[Component], method: str) -> str:
    return f"{cls.__name__}_{method}_{key(cls)}"  # type: ignore[arg-type]


def _entry_module(cls: type[Component], method: str, n_arguments: int) -> ModuleType:
    """The module that holds the entry point: a file of its own, for numba's cache to sit beside."""
    name = _entry_name(cls, method)  # type: ignore[arg-type]
    if name in sys.modules:
        return sys.modules[name]
    path = cache_dir() / "compiled" / f"{name}.py"
    if not path.exists():
        _write_entry(path, method, n_arguments)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    at = pointer_cast(lambda: record_type(cls))  # which cached code does not need
    module.at, module.EntryCompiler = at, EntryCompiler  # type: ignore[attr-defined]
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module


def _write_entry(path: Path, method: str, n_arguments: int) -> None:
    arguments = "".join(f", a{i}" for i in range(n_arguments))
    text = (
        "from numba import njit\n\n\n"
        "@njit(cache=True, nogil=True, no_cfunc_wrapper=True, pipeline_class=EntryCompiler)\n"
        f"def entry(address{arguments}):\n    return at(address).{method}({arguments[2:]})\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
