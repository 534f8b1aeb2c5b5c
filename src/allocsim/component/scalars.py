"""The scalars of a whole component tree, copied to and from the record in one go.

A tree may have thousands of them (one set for each of 129 arenas), and every compiled call needs
them in the record and back in Python's attributes.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np


class Scalars:
    """Knows where each scalar of the tree below `root` lies.

    places: the attributes of a component and a name in it; words: the record as an array of 8-byte
    numbers of one kind; index: where in it each place's value belongs.
    """

    def __init__(self, root: Any) -> None:
        self._groups = [_Group(root, kind) for kind in ("i8", "f8")]

    def push(self) -> None:
        """Copy all scalars from Python's attributes into the record."""
        for group in self._groups:
            group.push()

    def pull(self) -> None:
        """Copy the scalars that changed since `push` from the record back into the attributes."""
        for group in self._groups:
            group.pull()


class _Group:
    """All scalars of one type."""

    def __init__(self, root: Any, kind: str) -> None:
        places = list(_places(root, root._record.ctypes.data, np.dtype(kind)))
        self.places = [(attributes, name) for attributes, name, _ in places]
        self.index = np.array([offset // 8 for _, _, offset in places], np.intp)
        self.words = root._record.view(kind)
        self.pushed = self.words[self.index]

    def push(self) -> None:
        values = [attributes[name] for attributes, name in self.places]
        self.pushed = np.array(values, self.words.dtype)
        self.words[self.index] = self.pushed

    def pull(self) -> None:
        now = self.words[self.index]
        for i in np.flatnonzero(now != self.pushed).tolist():
            attributes, name = self.places[i]
            attributes[name] = now[i].item()


def _places(component: Any, start: int, kind: np.dtype) -> Iterator[tuple[dict, str, int]]:
    """Attributes, name and offset from `start` of every scalar of one type in the tree."""
    base = component._record.ctypes.data - start
    fields = component._record.dtype.fields
    for name in component._scalars:
        dtype, offset, *_ = fields[name]
        if dtype == kind:
            yield vars(component), name, base + offset
    for part in component._parts:
        yield from _places(part, start, kind)
