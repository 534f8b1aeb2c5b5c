"""Compiled mode: entry points into component trees, compiled on first use and cached on disk.

Code that the cache has is loaded without numba, which is imported only to compile.
"""

import sys
import threading
from contextlib import suppress
from linecache import getlines
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from allocsim.component.base import Component
from allocsim.component.machine_code import (
    ARGUMENTS,
    FAILURE,
    NUMBER,
    RECORD,
    RESULT,
    MachineCode,
    NotCompilable,
    is_kept,
    keep,
    kept,
)
from allocsim.component.source import key
from allocsim.errors import SimulationError

_entries: dict[tuple, "Entry"] = {}
_refused: dict[tuple, NotCompilable] = {}
_compiling = threading.RLock()
"""Held while code is loaded or made: compiling patches numba for the whole process."""


class Entry:
    """A compiled method, as a function of (record address, *arguments)."""

    def __init__(self, cls: type[Component], code: MachineCode) -> None:
        self._cls, self._code = cls, code
        self.function, self.result = code.function, code.result

    def __call__(self, record: int, *arguments: Any) -> Any:
        """Call it once, with integers and arrays; raises what the method raises."""
        block = new_block(record, len(arguments))
        for i, argument in enumerate(arguments):
            word = ARGUMENTS + 2 * i
            if isinstance(argument, np.ndarray):
                block[word : word + 2] = argument.ctypes.data, len(argument)
            else:
                block[word] = index(argument)
        if self.function(block.ctypes.data):
            raise self.failure(block)
        if not self.result:
            return None
        return block[RESULT : RESULT + 1].view(self.result)[0].item()

    def failure(self, block: np.ndarray) -> Exception:
        """What went wrong in the call with that block."""
        number = int(block[FAILURE])
        if not 0 < number <= len(self._code.failures):
            return SimulationError("a function of numba's own raised an error")
        failure = self._code.failures[number - 1]
        return _exception(self._cls, failure, block[FAILURE + 1 : RECORD])


def new_block(record: int, n_arguments: int) -> np.ndarray:
    """A block of words for calls of an entry point, its arguments still to be filled in."""
    block = np.zeros(ARGUMENTS + 2 * n_arguments, np.int64)
    block[RECORD] = record
    return block


def entry(cls: type[Component], method: str, arguments: tuple[Any, ...]) -> Entry:
    """The compiled `cls.method`, for arguments like those.

    Compiled on first use and cached on disk under a hash of the whole tree (`source.key`).
    Raises NotCompilable, naming method and line, when numba refuses the tree.
    """
    wanted = (cls, method, tuple(map(_kind_of, arguments)))
    if wanted not in _entries:
        with _compiling:
            _make(*wanted)
    return _entries[wanted]


def _make(cls: type[Component], method: str, kinds: tuple[str, ...]) -> None:
    wanted = (cls, method, kinds)
    if wanted in _refused:
        raise _refused[wanted]
    if wanted in _entries:  # made by another thread meanwhile
        return
    try:
        _entries[wanted] = Entry(cls, _code(cls, method, kinds))
    except NotCompilable as error:
        _refused[wanted] = error
        raise


def is_loaded(cls: type[Component], method: str) -> bool:
    """Whether this process has the machine code of `cls.method`."""
    return any(wanted[:2] == (cls, method) for wanted in _entries)


def is_cached(cls: type[Component], method: str) -> bool:
    """Whether the machine code of `cls.method` is already on disk."""
    return is_kept(_name(cls, method, ("*",)))


def _kind_of(argument: Any) -> str:
    if not isinstance(argument, np.ndarray):
        return NUMBER
    plain = argument.flags.c_contiguous and argument.flags.aligned and argument.dtype.isnative
    if argument.ndim != 1 or not plain:
        raise TypeError("compiled code takes arrays of one dimension, native and without gaps")
    return argument.dtype.str[1:]


def _name(cls: type[Component], method: str, kinds: tuple[str, ...]) -> str:
    """Its parts are told apart by what no identifier holds."""
    return f"{cls.__name__}-{method}-{''.join(kinds)}-{key(cls)}"  # type: ignore[arg-type]


def _code(cls: type[Component], method: str, kinds: tuple[str, ...]) -> MachineCode:
    name = _name(cls, method, kinds)
    if (code := kept(name)) is not None:
        return code
    from allocsim.component.compiler import compiled

    return keep(name, compiled(cls, method, kinds))


def _exception(cls: type[Component], failure: dict[str, Any], numbers: np.ndarray) -> Exception:
    """The exception, with a traceback that ends where compiled code of `cls` raised it."""
    kind = _class_of(failure, cls)
    noted = iter(numbers.reshape(-1, 1))
    arguments = [
        next(noted).view(word)[0].item() if word else value for word, value in failure["arguments"]
    ]
    made = kind(*arguments)
    if failure["line"]:
        file = _file_of(failure, cls)
        text = "\n" * (_line_of(failure, file) - 1) + "raise made"
        code = compile(text, file, "exec").replace(co_name=failure["method"])
        with suppress(kind):  # for its traceback
            exec(code, {"made": made})
    return made


def _file_of(failure: dict[str, Any], cls: type[Component]) -> str:
    """The file of the source that raised, as it is here: another copy may have been compiled."""
    for module in (failure["source"], *(each.__module__ for each in cls.tree())):
        file: str = getattr(sys.modules.get(module), "__file__", None) or ""
        if Path(file).name == Path(failure["file"]).name:
            return file
    return failure["file"]


def _line_of(failure: dict[str, Any], file: str) -> int:
    """Where the line that raised stands by now: comments and other methods may have moved it since
    it was compiled, and the cache does not care."""
    text, line = failure["text"], failure["line"]
    lines = getlines(file) if text else []
    there = [i for i, each in enumerate(lines, 1) if each.strip() == text]
    return min(there, key=lambda i: abs(i - line), default=line)


def _class_of(failure: dict[str, Any], cls: type[Component]) -> type[Exception]:
    """The exception's class; the module of a user's policy may have another name by now."""
    for module in (failure["module"], *(each.__module__ for each in cls.tree())):
        found: Any = sys.modules.get(module)
        for part in failure["name"].split("."):
            found = getattr(found, part, None)
        if found is not None:
            return found
    return SimulationError
