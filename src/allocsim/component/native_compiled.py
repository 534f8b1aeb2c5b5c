"""The compiled bodies of the helpers in `native`, in numba's terms."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.cpython.unsafe.numbers import leading_zeros, trailing_zeros
from numba.extending import intrinsic, overload

from allocsim.component import native
from allocsim.component.method_compiler import METHOD_OPTIONS

_FOR_READING, _INTO_NEAREST_CACHE, _DATA = 0, 3, 1


def _zero(words, start, n):
    for i in range(start, start + n):
        words[i] = 0


def _move(array, source, target, n):
    if target < source:
        for i in range(n):
            array[target + i] = array[source + i]
    else:
        for i in range(n - 1, -1, -1):
            array[target + i] = array[source + i]


def _fill(states, start, n, value):
    for i in range(start, start + n):
        states[i] = value


def _find(states, start, stop, value):
    while start < stop and states[start] != value:
        start += 1
    return start


def _count(states, start, stop, value):
    n = 0
    for i in range(start, stop):
        n += states[i] == value
    return n


@intrinsic
def _prefetch(context, array, i):
    def generate(context, builder, signature, arguments):
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(view.data, [arguments[1]])
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        how = (_FOR_READING, _INTO_NEAREST_CACHE, _DATA)
        pointer = builder.bitcast(address, byte)
        builder.call(function, [pointer, *(ir.Constant(word, k) for k in how)])
        return context.get_dummy_value()

    return types.none(array, types.intp), generate


def _fetch(array, i):
    _prefetch(array, i)


def _ctz(x):
    return np.int64(trailing_zeros(np.int64(x)))


def _ilog2(x):
    return np.int64(63 - leading_zeros(np.int64(x)))


def _inlined(helper):
    """By LLVM: numba's own inlining takes it much longer."""
    return overload(helper, jit_options=METHOD_OPTIONS | {"forceinline": True})


def _called(helper):
    return overload(helper, jit_options=METHOD_OPTIONS)


def register() -> None:
    """Give numba the compiled bodies; called once, before anything is compiled."""
    _inlined(native.prefetch)(lambda array, i: _fetch)
    _inlined(native.is_compiled)(lambda: lambda: True)
    _inlined(native.ctz)(lambda x: _ctz)
    _inlined(native.ilog2)(lambda x: _ilog2)
    _inlined(native.wrap)(lambda x: lambda x: np.int64(x))
    _inlined(native.unsigned)(lambda x: lambda x: np.uint64(x))
    _called(native.zero)(lambda words, start, n: _zero)
    _called(native.move)(lambda array, source, target, n: _move)
    _called(native.fill)(lambda states, start, n, value: _fill)
    _called(native.find)(lambda states, start, stop, value: _find)
    _called(native.count)(lambda states, start, stop, value: _count)
