"""Small helpers with one meaning and two bodies: fast interpreted, fast compiled.

Interpreted they work on memoryviews and Python integers, compiled on arrays and 64-bit integers.
Positions and counts are in elements. The compiled bodies are in
`native_compiled`; each pair is tested, one against the other.
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
