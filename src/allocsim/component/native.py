"""Small helpers with one meaning and two bodies: fast interpreted, fast compiled.

Interpreted they work on memoryviews and Python integers, compiled on arrays and 64-bit integers.
Positions and counts are in elements. Each pair is tested against the other.
"""

_ZEROS = memoryview(bytes(1 << 20)).cast("q")


def ctz(x):
    """Number of trailing zero bits of x > 0."""
    return (x & -x).bit_length() - 1


def ilog2(x):
    """Floor of the base-2 logarithm of x > 0."""
    return x.bit_length() - 1


def wrap(x):
    """x as a signed 64-bit integer, as it is in a register."""
    return ((x + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)


def unsigned(x):
    """x as an unsigned 64-bit integer; compiled code uses it for indices only."""
    return x & ((1 << 64) - 1)


def zero(words, start, n):
    """Set words[start : start + n] (64-bit) to 0."""
    step = len(_ZEROS)
    while n > step:
        words[start : start + step] = _ZEROS
        start += step
        n -= step
    words[start : start + n] = _ZEROS[:n]


def move(array, source, target, n):
    """Copy n elements inside one array; the ranges may overlap."""
    array[target : target + n] = (
        bytes(array[source : source + n])
        if array.itemsize == 1
        else memoryview(bytes(array[source : source + n])).cast(array.format)
    )


def fill(states, start, n, value):
    """Set states[start : start + n] (one byte each) to value."""
    states[start : start + n] = bytes([value]) * n


def find(states, start, stop, value):
    """First position in [start, stop) whose state is `value`, or stop."""
    at = bytes(states[start:stop]).find(value)
    return stop if at < 0 else start + at


def count(states, start, stop, value):
    """How many states in [start, stop) are `value`."""
    return bytes(states[start:stop]).count(value)


def prefetch(array, i):
    """Tell the host's processor that array[i] will be needed soon; `i` may lie outside."""


def is_compiled():
    """Whether this runs compiled."""
    return False


NATIVE = (ctz, ilog2, wrap, unsigned, zero, move, fill, find, count, prefetch, is_compiled)


def register() -> None:
    """Give numba the compiled bodies; called once, before anything is compiled."""
    import numpy as np
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.cpython.unsafe.numbers import leading_zeros, trailing_zeros
    from numba.extending import intrinsic, overload

    from allocsim.component.method_compiler import METHOD_OPTIONS

    def zero_compiled(words, start, n):
        for i in range(start, start + n):
            words[i] = 0

    def move_compiled(array, source, target, n):
        if target < source:
            for i in range(n):
                array[target + i] = array[source + i]
        else:
            for i in range(n - 1, -1, -1):
                array[target + i] = array[source + i]

    def fill_compiled(states, start, n, value):
        for i in range(start, start + n):
            states[i] = value

    def find_compiled(states, start, stop, value):
        while start < stop and states[start] != value:
            start += 1
        return start

    def count_compiled(states, start, stop, value):
        n = 0
        for i in range(start, stop):
            n += states[i] == value
        return n

    @intrinsic
    def prefetched(context, array, i):
        def generate(context, builder, signature, arguments):
            view = context.make_array(signature.args[0])(context, builder, arguments[0])
            address = builder.gep(view.data, [arguments[1]])
            byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            how = (1, 3, 1)  # to be written, into the nearest cache, data
            pointer = builder.bitcast(address, byte)
            builder.call(function, [pointer, *(ir.Constant(word, k) for k in how)])
            return context.get_dummy_value()

        return types.none(array, types.intp), generate

    # Inlined by LLVM: numba's own inlining takes it much longer.
    def tiny(function):
        return overload(function, jit_options=METHOD_OPTIONS | {"forceinline": True})

    def called(function):
        return overload(function, jit_options=METHOD_OPTIONS)

    tiny(prefetch)(lambda array, i: lambda array, i: prefetched(array, i))  # type: ignore[call-arg]
    tiny(is_compiled)(lambda: lambda: True)
    tiny(ctz)(lambda x: lambda x: np.int64(trailing_zeros(np.int64(x))))  # type: ignore[call-arg]
    tiny(ilog2)(lambda x: lambda x: np.int64(63 - leading_zeros(np.int64(x))))  # type: ignore[call-arg]
    tiny(wrap)(lambda x: lambda x: np.int64(x))
    tiny(unsigned)(lambda x: lambda x: np.uint64(x))
    called(zero)(lambda words, start, n: zero_compiled)
    called(move)(lambda array, source, target, n: move_compiled)
    called(fill)(lambda states, start, n, value: fill_compiled)
    called(find)(lambda states, start, stop, value: find_compiled)
    called(count)(lambda states, start, stop, value: count_compiled)
