"""A method that is called very often from Python: the state stays where compiled code has it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from allocsim.component.base import Component


class Bound:
    """`root.method` in either mode, without copying scalars around each call.

    `call(*arguments)` takes integers only. Compiled, scalars live in the record from `open()` to
    `close()`, and Python's attributes are stale meanwhile; arrays and pools are the same memory at
    all times. Interpreted, both do nothing.
    """

    def __init__(self, root: Component, method: str, n_arguments: int, compiled: bool) -> None:
        self._root, self.compiled = root, compiled
        self.call: Callable[..., Any] = getattr(root, method)
        if compiled:
            from allocsim.component.compiler import entry

            made = entry(type(root), method, (0,) * n_arguments)
            self.call = partial(made, root._record.ctypes.data)

    def open(self) -> None:
        """Hand the scalars over to compiled code."""
        if self.compiled:
            self._root._mirror.push()

    def close(self) -> None:
        """Have the scalars back in Python's attributes."""
        if self.compiled:
            self._root._mirror.pull()
