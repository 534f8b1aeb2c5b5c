"""Compiles entry points into component trees. Only this half of compiled mode needs numba."""

import gc
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
from numba import types
from numba.np.numpy_support import as_dtype

from allocsim.component.base import Component
from allocsim.component.convention import failures
from allocsim.component.linker import object_code
from allocsim.component.machine_code import ARGUMENTS, NUMBER, RECORD, NotCompilable
from allocsim.component.method_compiler import (
    METHOD_OPTIONS,
    remembering_operators,
    without_timers,
)
from allocsim.component.records import array_at, pointer_cast, record_type
from allocsim.component.refusals import Refused, explain_refusal


def compiled(cls: type[Component], method: str, kinds: tuple[str, ...]) -> bytes:
    """An object file with the machine code of `cls.method` for arguments of those kinds.

    Raises NotCompilable, naming method and line, when numba refuses the tree.
    """
    try:
        with (
            warnings.catch_warnings(),
            _no_garbage_collection(),
            without_timers(),
            remembering_operators(),
        ):
            warnings.simplefilter("ignore")
            return _compiled(cls, method, kinds)
    except (numba.errors.NumbaError, Refused) as error:
        raise NotCompilable(explain_refusal(cls, str(error))) from None


def _compiled(cls: type[Component], method: str, kinds: tuple[str, ...]) -> bytes:
    signature = (types.int64,)
    door = numba.njit(**METHOD_OPTIONS)(_door(cls, method, kinds))
    door.compile(signature)
    made = door.overloads[signature]
    result = _result(method, types.unliteral(made.signature.return_type))
    about = json.dumps({"result": result, "failures": failures}, default=str).encode()
    return object_code(made.library, made.fndesc.llvm_func_name, about)


def _result(method: str, kind: Any) -> str:
    """The type of what a method returns; "" for nothing."""
    if kind == types.none:
        return ""
    if not isinstance(kind, (types.Number, types.Boolean)):
        raise Refused(f"Error: {method} cannot return {kind}: only a number, or nothing")
    return as_dtype(kind).str[1:]


def _door(cls: type[Component], method: str, kinds: tuple[str, ...]) -> Any:
    """The function that takes the arguments from the block of an entry and calls the method."""
    namespace: dict[str, Any] = {
        "at": pointer_cast(lambda: record_type(cls)),
        "words_at": array_at("i8"),
    }
    arguments = []
    for i, kind in enumerate(kinds):
        word = ARGUMENTS + 2 * i
        if kind == NUMBER:
            arguments.append(f"words[{word}]")
        else:
            namespace[f"at{i}"] = array_at(kind)
            arguments.append(f"at{i}(words[{word}], words[{word + 1}])")
    text = (
        "def door(block):\n"
        f"    words = words_at(block, {ARGUMENTS + 2 * len(kinds)})\n"
        f"    return at(words[{RECORD}]).{method}({', '.join(arguments)})\n"
    )
    exec(text, namespace)
    return namespace["door"]


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
