"""The state of a component tree before its setup, so that one tree serves run after run.

Building a tree of hundreds of components takes longer than a short simulation. Going back to the
first state copies the record, clears the pools and sets the attributes that differ.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from allocsim.component import host_memory
from allocsim.component.fields import Param, Pool
from allocsim.errors import InputError


class FirstState:
    """What `root` and its parts were when they were built and wired, before any `setup`."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._scalars = root._mirror
        self._scalars.push()
        self._record = root._record.copy()
        self._pools = [
            vars(part)[name].obj
            for part in _all_parts(root)
            for name, declaration in part._fields.items()
            if isinstance(declaration, Pool)
        ]
        self._names = [(vars(part), {*vars(part), "_first_state"}) for part in _all_parts(root)]

    def restore(self, parameters: Mapping[str, Mapping[str, Any]]) -> None:
        """Go back, with those parameters of the root's parts, by part and name, then set up.

        InputError for a parameter that the part does not have, or a value out of range.
        """
        for attributes, names in self._names:
            for name in attributes.keys() - names:
                del attributes[name]
        for pool in self._pools:
            host_memory.recycle(pool)
        self._root._record[:] = self._record
        self._scalars.restore()
        for part, values in parameters.items():
            _set_parameters(getattr(self._root, part), values)
        self._root._start()

    def release_memory(self) -> None:
        """Have the host take back the memory of all pools."""
        for pool in self._pools:
            host_memory.give_back(pool)


def _set_parameters(part: Any, values: Mapping[str, Any]) -> None:
    declared = {name: f for name, f in part._fields.items() if isinstance(f, Param)}
    if unknown := values.keys() - declared.keys():
        names = ", ".join(map(repr, sorted(unknown)))
        raise InputError(f"{type(part).__name__} has no parameter {names}")
    for name, param in declared.items():
        vars(part)[name] = param.checked(name, values.get(name, param.default))


def _all_parts(component: Any) -> Iterator[Any]:
    """The component and all below it."""
    yield component
    for part in (*component._parts, *component._sets):
        yield from _all_parts(part)
