"""A method that is called very often from Python: the state stays where compiled code has it."""

import ctypes
from collections.abc import Callable
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
            self.call = _caller(root, method, n_arguments)

    def open(self) -> None:
        """Hand the scalars over to compiled code."""
        if self.compiled:
            self._root._mirror.push()

    def close(self) -> None:
        """Have the scalars back in Python's attributes."""
        if self.compiled:
            self._root._mirror.pull()


def _caller(root: Component, method: str, n_arguments: int) -> Callable[..., int]:
    """The compiled method as a function that makes nothing new in a call: one block for all.

    Written for its number of arguments, since `*arguments` would take a fifth of the time.
    """
    from allocsim.component.entry import entry, new_block
    from allocsim.component.machine_code import ARGUMENTS, RESULT

    made = entry(type(root), method, (0,) * n_arguments)
    if made.result != "i8":
        raise TypeError(f"{method} returns no integer")
    block = new_block(root._record.ctypes.data, n_arguments)
    arguments = ", ".join(f"a{i}" for i in range(n_arguments))
    fill = "; ".join(f"words[{ARGUMENTS + 2 * i}] = a{i}" for i in range(n_arguments))
    namespace: dict[str, Any] = {
        "words": block.data,
        "function": made.function,
        "address": ctypes.c_int64(block.ctypes.data),
        "failure": lambda: made.failure(block),
    }
    exec(
        f"def call({arguments}):\n"
        f"    {fill}\n"
        "    if function(address):\n"
        "        raise failure()\n"
        f"    return words[{RESULT}]\n",
        namespace,
    )
    return namespace["call"]
