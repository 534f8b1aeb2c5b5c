"""One source, two modes: every declaration and call, interpreted and compiled, on equal state.

All trees of this file are small, so that each compiles in about a second.
"""

import errno
import mmap
from enum import IntEnum
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocsim.component import (
    Array,
    Component,
    Param,
    Part,
    Parts,
    PerThread,
    Pool,
    Ref,
    host,
    inline,
    variant,
)
from allocsim.component.entry import NotCompilable
from allocsim.errors import InputError, SimulationError

BOTH = pytest.mark.parametrize("compiled", [False, True], ids=["interpreted", "compiled"])


class Mode(IntEnum):
    ADD = 0
    TAKE = 3


def halved(x):
    """A plain function of the module."""
    return x // 2


class Counter(Component):
    """A leaf: scalars, an array, constants."""

    STEP = 1
    owner = Ref("")
    shared = Ref("ledger")
    total = 0
    seen = Array("i4", 8)

    @inline
    def bump(self, by=1):
        self.total += by * self.STEP
        self.seen[self.total & 7] += 1
        self.shared.note(by)
        return self.total

    def report(self):
        return self.total + self.owner.base


class DoubleCounter(Counter):
    STEP = 2

    def bump(self, by=1):
        return super().bump(by) + 1000


class Ledger(Component):
    entries = Pool("i8", 1 << 20)
    n = 0
    mean = 0.5

    def note(self, value):
        self.entries[self.n] = value
        self.n += 1
        self.mean = self.mean * 0.75 + value * 0.25


class Between(Component):
    """Has a reference of the name that its part looks for."""

    ledger = Ref("ledger")
    counter = Part(Counter)


class Nested(Component):
    ledger = Part(Ledger)
    between = Part(Between)

    def play(self):
        self.between.counter.bump()
        return self.between.ledger.n


class Tree(Component):
    """Every kind of declaration in one tree."""

    base = Param(5, "bytes", 0, 100, "a parameter")
    thread = 0
    ledger = Part(Ledger)
    one = Part(Counter)
    other = Part(DoubleCounter)
    many = Parts(Counter, n=3)
    own = PerThread(Counter, n=4)
    started: ClassVar[bool] = False

    @host
    def setup(self):
        self.one.total = 100

    def play(self, calls, arguments):
        result = 0
        i = 0
        while i < len(calls):
            result = result * 31 + self.call(calls[i], arguments[i])
            result &= 0xFFFFFFFF
            i += 1
        return result

    def call(self, which, by):
        self.thread = by & 3
        if which == 0:
            answer = self.one.bump(by)
        elif which == 1:
            answer = self.other.bump()
        elif which == 2:
            answer = self.many[by % 3].bump(halved(by))
        elif which == Mode.TAKE:
            answer = self.own.bump(-by)
        else:
            answer = self.one.report() + max(by, 7) + (by if by > 3 else 0)
        return answer


def state(component: Component) -> list:
    """All of a tree's state, as plain values."""
    own = [getattr(component, name) for name in component._scalars]
    for name, declaration in component._fields.items():
        if isinstance(declaration, Array):
            own += list(getattr(component, name))
        elif isinstance(declaration, Pool):
            own += list(getattr(component, name)[:64])
    parts = (*component._parts, *component._sets)
    return own + [value for part in parts for value in state(part)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 50)), max_size=60), st.integers(0, 100))
def test_random_calls_give_equal_answers_and_state(calls, base):
    which, by = (np.array([c[k] for c in calls], np.int64) for k in (0, 1))
    interpreted, compiled = Tree(base=base), Tree(base=base)
    answers = [
        tree.run("play", which, by, compiled=mode)
        for tree, mode in ((interpreted, False), (compiled, True))
    ]
    assert answers[0] == answers[1]
    assert state(interpreted) == state(compiled)


def test_a_run_may_start_interpreted_and_go_on_compiled():
    which, by = np.arange(20) % 5, np.arange(20)
    mixed, plain = Tree(), Tree()
    mixed.run("play", which[:9], by[:9])
    plain.run("play", which, by)
    mixed.run("play", which[9:], by[9:], compiled=True)
    assert state(mixed) == state(plain)


def test_scalars_of_many_parts_stay_with_compiled_code_until_they_are_settled():
    """In turns with the other kind of run, which settles by itself, nothing is lost."""
    which, by = np.array([0, 2, 3, 2, 3]), np.array([1, 8, 3, 9, 7])
    reference, tree = Tree(), Tree()
    for _ in range(3):
        reference.run("play", which, by)
        tree.run("play", which, by, compiled=True, settle=False)
    assert tree.one.total == reference.one.total
    assert tree.many[2].total == 0 != reference.many[2].total
    tree.settle()
    assert state(tree) == state(reference)
    tree.run("play", which, by, compiled=True, settle=False)
    for one, mode in ((reference, False), (tree, False), (tree, True), (reference, True)):
        one.run("play", which, by, compiled=mode)
    reference.run("play", which, by)
    assert state(tree) == state(reference)


@BOTH
def test_a_subclass_replaces_one_method_and_calls_the_one_it_replaced(compiled):
    tree = Tree()
    assert tree.run("call", 1, 0, compiled=compiled) == 1 * 2 + 1000
    assert tree.other.total == 2


@BOTH
def test_references_find_enclosing_parts_by_name(compiled):
    tree = Tree(base=9)
    assert tree.run("call", 4, 1, compiled=compiled) == 100 + 9 + 7
    tree.run("call", 2, 4, compiled=compiled)
    assert (tree.many[1].total, tree.ledger.n, tree.ledger.entries[0]) == (2, 1, 2)


@BOTH
def test_each_thread_has_its_own_part(compiled):
    tree = Tree()
    for thread in (1, 2, 2):
        tree.run("call", 3, thread, compiled=compiled)
    assert [part.total for part in tree.each_own] == [0, -1, -4, 0]


@BOTH
def test_a_variant_replaces_declarations(compiled):
    other = variant(Tree, "TreeOfDoubles", one=Part(DoubleCounter))
    tree = other(base=1)
    assert tree.run("call", 0, 3, compiled=compiled) == 100 + 6 + 1000
    assert Tree().run("call", 0, 3, compiled=compiled) == 103


# ---- parameters
def test_parameters_are_listed_with_unit_range_and_meaning():
    assert Tree.parameters() == {"base": Param(5, "bytes", 0, 100, "a parameter")}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"base": 101}, "base: 101 is out of range; it is in 0 to 100 bytes"),
        ({"base": "5"}, "'5' is not a whole number"),
        ({"base": True}, "True is not a whole number"),
        ({"basis": 5}, "Tree has no parameter 'basis'"),
        ({"one": {"size": 5}}, "Counter has no parameter 'size'"),
    ],
)
def test_impossible_parameters_are_refused(values, said):
    with pytest.raises(InputError, match=said):
        Tree(**values)


def test_a_reference_to_nothing_is_refused():
    class Lost(Component):
        nobody = Ref("nobody")

    class Root(Component):
        part = Part(Lost)

    with pytest.raises(InputError, match=r"Lost\.nobody: no enclosing component has a part"):
        Root()


@pytest.mark.parametrize("compiled", [False, True])
def test_a_reference_passes_by_references_of_its_name(compiled):
    assert Nested().run("play", compiled=compiled) == 1


def test_a_pool_takes_what_the_host_gives():
    class Greedy(Component):
        words = Pool("i8", 1 << 58)

    assert 1 << 20 < len(Greedy().words) < 1 << 58


# ---- errors
class Failing(Component):
    values = Array("i8", 4)
    pool = Pool("u1", 100)
    n = 0

    def fail(self, address):
        self.n += 1
        if address > 3:
            raise SimulationError("no access at", address)
        return 0

    def at(self, i):
        self.n += 1
        self.values[i] = 1
        return 0

    def in_pool(self, i):
        return self.pool[i]

    def forever(self):
        while self.n >= 0:
            self.n ^= 1


@BOTH
def test_errors_carry_their_address_and_leave_the_state_readable(compiled):
    part = Failing()
    with pytest.raises(SimulationError, match="no access at 0x1f4"):
        part.run("fail", 500, compiled=compiled)
    assert part.n == 1


@pytest.mark.parametrize("index", [4, 1 << 40, -(1 << 40), -5])
@BOTH
def test_an_index_outside_an_array_is_an_error(compiled, index):
    with pytest.raises(IndexError):
        Failing().run("at", index, compiled=compiled)


@pytest.mark.parametrize("index", [100, 1 << 40])
@BOTH
def test_an_index_outside_a_pool_is_an_error(compiled, index):
    with pytest.raises(IndexError):
        Failing().run("in_pool", index, compiled=compiled)


@pytest.mark.slow
def test_an_endless_loop_is_an_error():
    with pytest.raises(SimulationError, match="does not end"):
        Failing().run("forever", compiled=True)


class Returning(Component):
    ratio = 0.25
    bytes_ = Array("u1", 2)

    def number(self):
        return -3

    def share(self):
        return self.ratio

    def truth(self):
        return self.ratio < 1

    def byte(self):
        self.bytes_[1] = 200
        return self.bytes_[1]

    def nothing(self):
        self.ratio = 0.5

    def divided(self, by):
        return 7 // by

    def rest(self, by):
        return 7 % by

    def fail(self):
        raise ValueError("a share of", self.ratio, -7, self.ratio < 1)


@BOTH
def test_what_methods_return(compiled):
    tree = Returning()
    answers = [
        tree.run(name, compiled=compiled)
        for name in ("number", "share", "truth", "byte", "nothing")
    ]
    assert answers == [-3, 0.25, True, 200, None]
    assert list(map(type, answers)) == [int, float, bool, int, type(None)]
    assert tree.ratio == 0.5


@BOTH
def test_errors_carry_any_numbers_and_come_from_their_line(compiled):
    with pytest.raises(ValueError, match="a share of") as caught:
        Returning().run("fail", compiled=compiled)
    assert caught.value.args == ("a share of", 0.25, -7, True)
    last = caught.traceback[-1]
    assert (last.name, last.path.name) == ("fail", "test_component.py")
    assert "raise ValueError" in Path(last.path).read_text().splitlines()[last.lineno]


@BOTH
@pytest.mark.parametrize("method", ["divided", "rest"])
def test_division_by_zero_is_an_error(compiled, method):
    with pytest.raises(ZeroDivisionError):
        Returning().run(method, 0, compiled=compiled)


def test_only_integers_and_plain_arrays_go_into_compiled_code():
    with pytest.raises(TypeError):
        Returning().run("divided", 0.5, compiled=True)
    for array in (np.arange(8)[::2], np.arange(4, dtype=">i8"), np.zeros((2, 2), np.int64)):
        with pytest.raises(TypeError, match="native and without gaps"):
            Tree().run("play", array, array, compiled=True)


def test_one_refused_method_leaves_the_others():
    tree = Returning()
    with pytest.raises(NotCompilable):
        tree.run("rest", compiled=True)
    assert tree.run("rest", 4, compiled=True) == 3


# ---- refusals
class Telling(Component):
    n = 0

    def go(self, x):
        text = "many" if x > 5 else "few"
        raise ValueError(text, x)


class Unknown(Component):
    inner = Part(Failing)

    def go(self):
        return self.help(3)

    def help(self, x):
        return self.inner.nothing(x)


class Generic(Component):
    def go(self, x):
        with open("file") as file:  # noqa: PTH123
            return len(file.read()) + x


@pytest.mark.parametrize(
    ("cls", "arguments", "method", "reason"),
    [
        (Unknown, (), r"Unknown\.help", "no field or method 'nothing'"),
        (Telling, (3,), r"Telling\.go", "with text and up to 4 numbers"),
        (Generic, (3,), r"Generic\.go", "not supported"),
    ],
)
def test_what_cannot_be_compiled_is_named_with_method_line_and_reason(
    cls, arguments, method, reason
):
    with pytest.raises(NotCompilable, match=rf"{method} \(test_component\.py:\d+\): .*{reason}"):
        cls().run("go", *arguments, compiled=True)


def test_a_pool_works_where_the_host_has_no_huge_pages(monkeypatch):
    class Mapping(mmap.mmap):
        def madvise(self, *_):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(mmap, "mmap", Mapping)
    backing, n = Pool("i8", 1 << 20).reserve()
    assert n == 1 << 20
    assert not any(backing[:4096])
