"""Metadata outside of simulated memory is found wherever Python keeps it, and nothing else is."""

from typing import ClassVar

import pytest

from allocsim import Policy, Pool
from allocsim.check import Outcome, check_policy

KNOWN = {}
SIZE_CLASSES = [16, 32, 64, 128]


class Bump(Policy):
    def malloc(self, size):
        at = self.kernel.sbrk((size + 15) & -16)
        self.note(max(at, 0), size)
        return max(at, 0)

    def free(self, address):
        pass

    def realloc(self, address, size):
        return 0

    def note(self, address, size):
        pass


class OfTheClass(Bump):
    sizes: ClassVar[dict[int, int]] = {}

    def note(self, address, size):
        self.sizes[address] = size


class OfTheInstance(Bump):
    def setup(self):
        self.blocks = []

    setup.host_only = True

    def note(self, address, size):
        self.blocks.append(address)


class OfTheModule(Bump):
    def note(self, address, size):
        KNOWN[address] = size


class Node:
    def __init__(self, address, following):
        self.address, self.following = address, following


class Linked(Bump):
    first = Node(0, None)

    def note(self, address, size):
        Linked.first = Node(address, Linked.first)


class Tables(Bump):
    """What stays as large as it is costs no metadata."""

    by_size: ClassVar[list[int]] = [0] * 100

    def note(self, address, size):
        self.by_size[size % 100] = SIZE_CLASSES[size % 4]


class NotForWalkAlone(Bump):
    sizes = Pool("i8", 1 << 20, for_walk=True)
    n = 0

    def malloc(self, size):
        self.sizes[self.n] = size
        self.n += 1
        return max(self.kernel.sbrk((self.sizes[self.n // 2] + size + 15) & -16), 0)


class ForWalkAlone(NotForWalkAlone):
    def malloc(self, size):
        self.sizes[self.n] = size
        self.n += 1
        return Bump.malloc(self, size)


def outcome_of(policy):
    (result,) = check_policy(policy, only=["metadata is simulated"])
    return result


@pytest.mark.parametrize(
    ("policy", "container"),
    [
        (OfTheClass, "OfTheClass.sizes"),
        (OfTheInstance, "OfTheInstance.blocks"),
        (OfTheModule, "KNOWN"),
        (Linked, "Linked.first"),
    ],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_what_grows_in_python_is_idealized(policy, container):
    found = outcome_of(policy)
    assert found.outcome is Outcome.NOTED
    assert found.detail == f"idealized: {container} is metadata that costs nothing"


@pytest.mark.parametrize("policy", [Bump, Tables, ForWalkAlone], ids=lambda p: p.__name__)
def test_what_does_not_grow_or_is_for_walk_alone_is_not(policy):
    assert outcome_of(policy).outcome is Outcome.PASSED


def test_a_pool_said_to_be_for_walk_must_be():
    found = outcome_of(NotForWalkAlone)
    assert found.outcome is Outcome.FAILED
    assert found.detail.startswith("NotForWalkAlone.sizes: not for walk() alone; without, op ")
