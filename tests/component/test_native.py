"""The native helpers: each interpreted body against its compiled twin and against plain Python."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocsim.component import Array, Component
from allocsim.component.native import count, ctz, fill, find, ilog2, move, wrap, zero

N = 64


class Native(Component):
    words = Array("i8", N)
    states = Array("u1", N)

    def call(self, which, a, b, c):
        answer = 0
        if which == 0:
            answer = ctz(a)
        elif which == 1:
            answer = ilog2(a)
        elif which == 2:
            answer = wrap(a)
        elif which == 3:
            zero(self.words, a, b)
        elif which == 4:
            move(self.words, a, b, c)
        elif which == 5:
            move(self.states, a, b, c)
        elif which == 6:
            fill(self.states, a, b, c)
        elif which == 7:
            answer = find(self.states, a, b, c)
        else:
            answer = count(self.states, a, b, c)
        return answer


def both(which: int, *arguments: int) -> int:
    """The answer of both modes, which are equal in answer and state."""
    answers, states = [], []
    for compiled in (False, True):
        part = Native()
        for i in range(N):
            part.words[i], part.states[i] = i * 1_000_003, i % 5
        answers.append(part.run("call", which, *arguments, compiled=compiled))
        states.append((list(part.words), list(part.states)))
    assert answers[0] == answers[1]
    assert states[0] == states[1]
    return answers[0]


@settings(deadline=None)
@given(st.integers(1, 2**63 - 1))
def test_bits(x):
    assert both(0, x, 0, 0) == len(bin(x)) - len(bin(x).rstrip("0"))
    assert both(1, x, 0, 0) == len(bin(x)) - 3
    assert both(2, x, 0, 0) == x


@pytest.mark.parametrize(("x", "wrapped"), [(2**63, -(2**63)), (2**64 - 1, -1), (-1, -1), (5, 5)])
def test_wrap_is_a_register(x, wrapped):
    assert wrap(x) == wrapped


@settings(max_examples=60, deadline=None)
@given(st.integers(0, N), st.integers(0, N), st.integers(0, N), st.integers(0, 6))
def test_ranges(a, b, n, value):
    n = min(n, N - a, N - b)
    low, high = sorted((a, b))
    both(3, a, n, 0)
    both(4, a, b, n)
    both(5, a, b, n)
    both(6, a, n, value)
    states = [i % 5 for i in range(N)]
    assert both(7, low, high, value) == next(
        (i for i in range(low, high) if states[i] == value), high
    )
    assert both(8, low, high, value) == states[low:high].count(value)


def test_zero_clears_more_than_a_block_at_once():
    words = memoryview(bytearray(8 * 300_000)).cast("q")
    words[0], words[1], words[299_999] = 7, 7, 7
    zero(words, 1, 299_998)
    assert (words[0], words[1], words[299_999]) == (7, 0, 7)
