"""A hash of code that no file determines.

That is classes of a notebook or another interactive session, of a script's `__main__`, and those
that a function makes.
"""

import contextlib
import hashlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

_NOT_CODE = {"__dict__", "__doc__", "__firstlineno__", "__module__", "__weakref__"}


def session_hash(cls: type) -> str:
    """A hash of all of the session that decides what a class does.

    That is its methods, state and bases, and whatever these name in the session: constants,
    functions, other classes. Bytecode counts, so the hash holds for one version of Python.
    """
    digest = hashlib.sha256(sys.version.encode())
    for part in _described(cls, set()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def is_of_session(value: Any) -> bool:
    """Whether the file of a class, function or module, if any, does not say what it is."""
    module = inspect.getmodule(value)
    is_local = "<locals>" in getattr(value, "__qualname__", "")
    return is_local or _file_of(value) is None or getattr(module, "__name__", "") == "__main__"


def has_file(value: Any) -> bool:
    """Whether a class, function or module is defined in a file."""
    return _file_of(value) is not None


def _file_of(value: Any) -> Path | None:
    file = getattr(inspect.getmodule(value), "__file__", None)
    return Path(file) if file else None


def _described(value: Any, seen: set[int]) -> Iterator[bytes]:
    """The parts of a value that count; of what is defined in a file, the file."""
    if isinstance(value, type | FunctionType | ModuleType | BuiltinFunctionType):
        if id(value) in seen:
            return
        seen.add(id(value))
        yield value.__name__.encode()
        if not is_of_session(value):
            yield from _of_file(value)
        elif isinstance(value, type):
            yield from _of_class(value, seen)
        elif isinstance(value, FunctionType):
            yield from _of_function(value, seen)
    else:
        yield from _of_value(value, seen)


def _of_file(value: Any) -> Iterator[bytes]:
    path = _file_of(value)
    if path is not None and path.is_file():
        yield path.read_bytes()


def _of_class(cls: type, seen: set[int]) -> Iterator[bytes]:
    for base in cls.__bases__:
        yield from _described(base, seen)
    for name, value in sorted(vars(cls).items()):
        if name not in _NOT_CODE:
            yield name.encode()
            yield from _described(value, seen)


def _of_function(function: FunctionType, seen: set[int]) -> Iterator[bytes]:
    yield from _of_code(function.__code__, seen)
    yield from _described((function.__defaults__, function.__kwdefaults__), seen)
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty cell
            yield from _described(cell.cell_contents, seen)
    for name in sorted(_names_in(function.__code__) & function.__globals__.keys()):
        yield name.encode()
        yield from _described(function.__globals__[name], seen)


def _of_code(code: CodeType, seen: set[int]) -> Iterator[bytes]:
    yield code.co_code
    yield repr((code.co_names, code.co_varnames, code.co_freevars)).encode()
    yield from _described(code.co_consts, seen)


def _names_in(code: CodeType) -> set[str]:
    """The names that code and the functions inside it may look up in the session."""
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*map(_names_in, inner))


def _of_value(value: Any, seen: set[int]) -> Iterator[bytes]:
    match value:
        case CodeType():
            yield from _of_code(value, seen)
        case staticmethod() | classmethod():
            yield from _described(value.__func__, seen)
        case property():
            yield from _described((value.fget, value.fset, value.fdel), seen)
        case np.ndarray():
            yield repr((value.dtype, value.shape)).encode() + value.tobytes()
        case frozenset() | set():
            yield repr(sorted(map(repr, value))).encode()
        case dict():
            for key, each in value.items():
                yield repr(key).encode()
                yield from _described(each, seen)
        case list() | tuple():
            yield str(len(value)).encode()
            for each in value:
                yield from _described(each, seen)
        case _ if is_dataclass(value):
            yield type(value).__name__.encode()
            yield from _described({f.name: getattr(value, f.name) for f in fields(value)}, seen)
        case _:
            yield repr(value).encode()
