"""Metadata that a policy keeps outside of simulated memory, where it costs nothing."""

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from allocsim.component import Component, Part, Pool
from allocsim.kernel import Kernel
from allocsim.policy import Policy, Ranges

_CONTAINERS = (dict, list, set, frozenset, tuple, deque, bytearray, np.ndarray)
_NO_DATA = (Component, type, ModuleType, FunctionType, CodeType, memoryview, str, bytes, int, float)
_FRAMEWORKS_OWN = frozenset(
    {"_record", "_scalars", "_parts", "_sets", "_up", "_mirror", "_fields", "_constants"}
)


def pools(cls: type[Component], for_walk: bool) -> list[str]:
    """The growing arrays that a policy declares, as Class.name; those for `walk()`, or others."""
    return [
        f"{part.__name__}.{name}"
        for part in _own_classes(cls)
        for name, declaration in part._fields.items()
        if isinstance(declaration, Pool) and declaration.for_walk == for_walk
    ]


def python_sizes(policy: Component) -> dict[str, int]:
    """How many objects each of a policy's Python containers holds, by the container's name.

    Looked at are attributes of instances and classes, and the globals that methods use.
    """
    sizes: dict[str, int] = {}
    for part in own_parts(policy):
        cls = type(part)
        classes = [c for c in cls.__mro__ if issubclass(c, Component) and not _is_framework(c)]
        for name, value in _state(part, classes):
            sizes[name] = sizes.get(name, 0) + _n_objects(value)
    return sizes


class _LastWord:
    """In place of a pool: whatever is read, it is what was written last."""

    def __init__(self, n: int) -> None:
        self.n, self.word = n, 0

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, _: int) -> int:
        return self.word

    def __setitem__(self, _: int, word: int) -> None:
        self.word = word


def forget_walk(policy: Component) -> None:
    """Have a policy run without the contents of its pools for `walk()`."""
    for part in own_parts(policy):
        for name, declaration in part._fields.items():
            if isinstance(declaration, Pool) and declaration.for_walk:
                setattr(part, name, _LastWord(len(getattr(part, name))))


def own_parts(component: Component) -> Iterator[Component]:
    """A policy and its parts, without the kernel and what reports ranges."""
    yield component
    for part in (*component._parts, *component._sets):
        if not isinstance(part, (Kernel, Ranges)):
            yield from own_parts(part)


def _own_classes(cls: type[Component]) -> Iterator[type[Component]]:
    yield cls
    for declaration in cls._fields.values():
        if isinstance(declaration, Part) and not issubclass(declaration.cls, (Kernel, Ranges)):
            yield from _own_classes(declaration.cls)  # type: ignore[arg-type]


def _is_framework(cls: type) -> bool:
    return cls in (Component, Policy)


def _state(part: Component, classes: list[type]) -> Iterator[tuple[str, Any]]:
    """Everything that a part could keep, apart from what is declared: name and value."""
    declared = {n for name in part._fields for n in (name, f"each_{name}")} | _FRAMEWORKS_OWN
    for name, value in vars(part).items():
        if name not in declared:
            yield f"{type(part).__name__}.{name}", value
    for cls in classes:
        for name, value in vars(cls).items():
            if isinstance(value, FunctionType):
                yield from _globals_of(value)
            elif name not in _FRAMEWORKS_OWN and not name.startswith("__"):
                yield f"{cls.__name__}.{name}", value


def _globals_of(method: FunctionType) -> Iterator[tuple[str, Any]]:
    for name in method.__code__.co_names:
        if name in method.__globals__:
            yield name, method.__globals__[name]
    for name, cell in zip(method.__code__.co_freevars, method.__closure__ or (), strict=True):
        with suppress(ValueError):  # nothing in it yet
            yield name, cell.cell_contents


def _n_objects(root: Any) -> int:
    """How many objects and array elements can be reached from an object, itself not counted."""
    n, seen, waiting = 0, {id(root)}, [root]
    while waiting:
        inside = list(_contents(waiting.pop()))
        n += len(inside)
        new = [value for value in inside if id(value) not in seen]
        seen.update(map(id, new))
        waiting += new
    return n


def _contents(value: Any) -> Iterator[Any]:
    if isinstance(value, _NO_DATA):
        return
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, (bytearray, np.ndarray)):
        yield from (0 for _ in range(len(value)))
    elif isinstance(value, _CONTAINERS):
        yield from value
    elif hasattr(value, "__dict__"):
        yield from vars(value).values()
