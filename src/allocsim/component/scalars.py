"""The scalars of a whole component tree, copied to and from the record in one go.

A tree may have thousands of them (one set for each of 129 arenas), and every compiled call needs
them in the record and back in Python's attributes.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from allocsim.component.fields import PerThread

Place = tuple[dict, str, int]
"""A component's attributes, a name among them, and where in the record its value belongs."""


class Scalars:
    """Knows where each scalar of the tree below `root` lies.

    `far` are the scalars in parts that there are many of, `near` all others. While far ones are
    `away`, the record has them and Python's attributes are stale.
    """

    def __init__(self, root: Any) -> None:
        self.near = [_Group(root, kind, _near_places) for kind in ("i8", "f8")]
        self.far = [_Group(root, kind, _far_places) for kind in ("i8", "f8")]
        self.away = False
        self.turning = list(_with_threads(root))

    def push(self) -> None:
        """Copy all scalars that are not away from Python's attributes into the record."""
        for group in self.near if self.away else self.near + self.far:
            group.push()

    def pull(self, settle: bool = True) -> None:
        """Copy the scalars that changed since `push` from the record back into the attributes.

        Without `settle` those of parts that there are many of stay away.
        """
        self.away = True
        for group in self.near:
            group.pull()
        for component in self.turning:
            component.turn_to_thread()
        if settle:
            self.settle()

    def restore(self) -> None:
        """Have in all attributes what the record holds."""
        for group in self.near + self.far:
            group.restore()
        for component in self.turning:
            component.turn_to_thread()
        self.away = False

    def settle(self) -> None:
        """Have all scalars in Python's attributes."""
        if self.away:
            for group in self.far:
                group.pull()
            self.away = False


class _Group:
    """All scalars of one type and distance.

    places: the attributes of a component and a name in it; words: the record as an array of 8-byte
    numbers of that type; index: where in it each place's value belongs.
    """

    def __init__(self, root: Any, kind: str, all_places: Callable[..., Iterator[Place]]) -> None:
        places = list(all_places(root, root._record.ctypes.data, np.dtype(kind)))
        self.places = [(attributes, name) for attributes, name, _ in places]
        self.index = np.array([offset // 8 for _, _, offset in places], np.intp)
        self.words = root._record.view(kind)
        self.pushed = self.words[self.index]

    def push(self) -> None:
        values = [attributes[name] for attributes, name in self.places]
        self.pushed = np.array(values, self.words.dtype)
        self.words[self.index] = self.pushed

    def restore(self) -> None:
        values = self.words[self.index].tolist()
        for (attributes, name), value in zip(self.places, values, strict=True):
            attributes[name] = value

    def pull(self) -> None:
        now = self.words[self.index]
        for i in np.flatnonzero(now != self.pushed).tolist():
            attributes, name = self.places[i]
            attributes[name] = now[i].item()


def _with_threads(component: Any) -> Iterator[Any]:
    """The components that have parts which each thread has for itself."""
    if any(isinstance(declaration, PerThread) for declaration in component._fields.values()):
        yield component
    for part in (*component._parts, *component._sets):
        yield from _with_threads(part)


def _own_places(component: Any, start: int, kind: np.dtype) -> Iterator[Place]:
    """Attributes, name and offset from `start` of a component's own scalars of one type."""
    base = component._record.ctypes.data - start
    fields = component._record.dtype.fields
    for name in component._scalars:
        dtype, offset, *_ = fields[name]
        if dtype == kind:
            yield vars(component), name, base + offset


def _near_places(component: Any, start: int, kind: np.dtype) -> Iterator[Place]:
    """Those of the component and of all its parts that there is one of."""
    yield from _own_places(component, start, kind)
    for part in component._parts:
        yield from _near_places(part, start, kind)


def _far_places(component: Any, start: int, kind: np.dtype) -> Iterator[Place]:
    """Those of all other parts."""
    for part in component._parts:
        yield from _far_places(part, start, kind)
    for part in component._sets:
        yield from _near_places(part, start, kind)
        yield from _far_places(part, start, kind)
