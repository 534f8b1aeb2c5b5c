"""How compiled methods call each other, and what they leave behind when they raise an error.

Numba's own way makes Python objects of an exception inside compiled code, so whoever loads that
code needs numba, and every call looks after an exception of its own. Here all calls of a run share
one place for it, the words from FAILURE on in the block that an entry point is called with: the
number of the failure in `failures` and, behind it, the integers and floats that it was raised with.

Leans on these internal parts of numba: `CPUCallConv`, and `CPUContext.call_conv`, which names the
one in use.
"""

import sys
from collections.abc import Iterable
from functools import cache
from linecache import getline
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import callconv, cgutils
from numba.core.cpu import CPUContext

from allocsim.component.machine_code import MOST_NUMBERS
from allocsim.component.refusals import Refused

_WORD = ir.IntType(64)

failures: list[dict[str, Any]] = []
"""What can go wrong in what this process compiled: the exception's `module` and `name`, where it is
raised (`method`, `source`, `file`, `line` and its `text`), and its `arguments`, each of them [kind,
value]: a value known when compiled, or a kind of number (i8, u8, f8, ?) that is noted behind the
failure's own number. `source` is the name of the module that `file` is.
"""

_numbers: dict[str, int] = {}  # of each failure, by its text


class Convention(callconv.CPUCallConv):
    """The same signatures as numba's own convention, so that both can call each other; but the
    pointer to an exception is the caller's own, and what it points to are the words of a failure.
    """

    def set_static_user_exc(
        self, builder: Any, exc: Any, exc_args: Any = None, loc: Any = None, func_name: Any = None
    ) -> None:
        arguments = exc_args or ()
        kinds = (None,) * len(arguments)
        self.set_dynamic_user_exc(builder, exc, arguments, kinds, loc, func_name)

    def set_dynamic_user_exc(
        self, builder: Any, exc: Any, exc_args: Any, nb_types: Any, loc: Any = None,
        func_name: Any = None,
    ) -> None:  # fmt: skip
        given = list(zip(exc_args, nb_types, strict=True))
        told = [_told(*each) for each in given]
        numbers = [each for each, known in zip(given, told, strict=True) if known and known[0]]
        if exc is None or None in told or len(numbers) > MOST_NUMBERS:
            raise Refused(
                f"Error: raise an exception by name, with text and up to {MOST_NUMBERS} numbers\n"
                f'File "{loc.filename}", line {loc.line}'
            )
        failure = {
            "module": exc.__module__,
            "name": exc.__qualname__,
            "method": (loc and loc._raw_function_name()) or func_name or "?",
            "source": loc and _module_of(loc.filename),
            "file": loc and loc.filename,
            "line": loc and loc.line,
            "text": loc and getline(loc.filename, loc.line).strip(),
            "arguments": told,
        }
        place = self._get_excinfo_argument(builder.function)
        words = builder.bitcast(place, _WORD.as_pointer())
        noted = [ir.Constant(_WORD, _number_of(failure)), *(_as_word(builder, *n) for n in numbers)]
        for i, word in enumerate(noted):
            builder.store(word, builder.gep(words, [ir.Constant(_WORD, i)]))

    def return_user_exc(
        self, builder: Any, exc: Any, exc_args: Any = None, loc: Any = None, func_name: Any = None
    ) -> None:
        self.set_static_user_exc(builder, exc, exc_args, loc, func_name)
        self._return_errcode_raw(builder, callconv.RETCODE_USEREXC)

    def return_status_propagate(self, builder: Any, status: Any) -> None:
        self._return_errcode_raw(builder, status.code)

    def call_function(
        self, builder: Any, callee: Any, resty: Any, argtys: Any, args: Iterable, attrs: Any = None
    ) -> tuple:
        """As numba's, but for the pointer to the exception, which is handed on."""
        kind = self.get_return_type(resty).pointee
        result = cgutils.alloca_once(builder, kind)
        builder.store(cgutils.get_null_value(kind), result)
        failure = self._get_excinfo_argument(builder.function)
        given = self._get_arg_packer(argtys).as_arguments(builder, args)
        code = builder.call(callee, [result, failure, *given], attrs=tuple(attrs or ()))
        status = self._get_return_status(builder, code, builder.load(failure))
        return status, self.context.get_returned_value(builder, resty, builder.load(result))


class Context(CPUContext):
    """Numba's target, with that convention."""

    @property
    def call_conv(self) -> Convention:
        return Convention(self)

    @classmethod
    def of(cls, context: Any) -> "Context":
        """The CPUContext `context`, which nobody else uses, with that convention."""
        context.__class__ = cls
        context.error_model.call_conv = context.call_conv  # for divisions by zero
        context.cached_internal_func = _internal_functions
        return context


_internal_functions: dict = {}  # of numba's, compiled with this convention


@cache
def _module_of(filename: str) -> str:
    """The name of the module with that file; nothing if it has none."""
    modules = [(n, getattr(m, "__dict__", {})) for n, m in list(sys.modules.items())]
    return next((n for n, contents in modules if contents.get("__file__") == filename), "")


def _told(argument: Any, kind: Any) -> list | None:
    """An argument of an exception as `failures` has it; None if it is neither text nor number."""
    if kind is None:
        return ["", argument.item() if isinstance(argument, np.generic) else argument]
    if isinstance(kind, types.Literal):
        return ["", kind.literal_value]
    integer = "i8" if getattr(kind, "signed", True) else "u8"
    noted = {types.Integer: integer, types.Float: "f8", types.Boolean: "?"}
    return next(([word, None] for k, word in noted.items() if isinstance(kind, k)), None)


def _as_word(builder: Any, value: Any, kind: Any) -> Any:
    """A number as 64 bits."""
    if isinstance(kind, types.Float):
        return builder.bitcast(builder.fpext(value, ir.DoubleType()), _WORD)
    if value.type.width == _WORD.width:
        return value
    return (builder.sext if getattr(kind, "signed", False) else builder.zext)(value, _WORD)


def _number_of(failure: dict[str, Any]) -> int:
    """The failure's number, from 1 on."""
    text = repr(failure)
    if text not in _numbers:
        failures.append(failure)
        _numbers[text] = len(failures)
    return _numbers[text]
