"""Declarations: what a component may hold as state.

A component's state is declared by class attributes. Plain lower-case integers and floats are
scalars (`top = 0`); the classes below declare everything else. Upper-case integers and floats are
constants, known when compiled; a subclass may override them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.component import host_memory
from allocsim.errors import InputError

_SMALLEST_POOL_BYTES = 1 << 20


class _State:
    """What all declarations share: on an instance, the name means the state itself."""

    if TYPE_CHECKING:

        def __get__(self, owner: Any, _: type | None = None) -> Any: ...
        def __set__(self, owner: Any, value: Any) -> None: ...


@dataclass(frozen=True)
class Array(_State):
    """A small array inside the component's record: `head = Array("i8", 128)`."""

    dtype: str
    n: int


@dataclass(frozen=True)
class Pool(_State):
    """A huge array of zeros that the host backs only where it is written: it never grows or copies.

    `n` is the number of elements wished for; where the host refuses to reserve that much address
    space (`ulimit -v`, strict overcommit) it is halved until it fits. Use `len()` for what it has.
    With kept_bytes, the host memory of the first so many bytes goes to the next such pool of this
    process, cleared. for_walk: only `walk()` depends on what the pool holds, so it is no part of
    the model; `allocsim check` verifies that a run without it has the same result.
    """

    dtype: str
    n: int
    kept_bytes: int = 0
    for_walk: bool = False

    def reserve(self) -> tuple[np.ndarray, int]:
        """Reserve the memory; returns its bytes and the number of elements they hold."""
        item_bytes, n = np.dtype(self.dtype).itemsize, self.n
        while True:
            try:
                return host_memory.reserve(n * item_bytes, self.kept_bytes), n
            except OSError as error:
                n //= 2
                if n * item_bytes < min(_SMALLEST_POOL_BYTES, self.n * item_bytes):
                    raise InputError(
                        "no address space left for simulated memory; raise `ulimit -v`, or run "
                        "fewer simulations in one process"
                    ) from error


@dataclass(frozen=True)
class Part(_State):
    """Another component, embedded in this one; `params` are passed to it."""

    cls: type
    params: dict[str, Any] = field(default_factory=dict)
    n: int = 1


@dataclass(frozen=True)
class Parts(Part):
    """`n` components of one class: `arenas = Parts(Arena, n=8)`, used as `self.arenas[i]`."""


@dataclass(frozen=True)
class PerThread(Part):
    """A part that each simulated thread has for itself; `self.name` is the calling thread's.

    Only a component with a field `thread` may have such parts. All of them are in `self.each_name`;
    setting `thread` makes `self.name` another of them.
    """

    n: int = 64


@dataclass(frozen=True)
class Ref(_State):
    """A part of an enclosing component, found by name outwards ('' is the enclosing one itself)."""

    name: str


@dataclass(frozen=True)
class Param(_State):
    """A scalar that a user may set: a parameter with default, unit, range and meaning.

    `choices` limits it to listed values instead of the range `low` to `high` (both included).
    """

    default: int | float
    unit: str = ""
    low: int | float = 0
    high: int | float = 2**62
    doc: str = ""
    choices: tuple[int | float, ...] = ()

    def checked(self, name: str, value: Any) -> int | float:
        """`value` as this parameter's type; InputError if of the wrong type or out of range."""
        kind = type(self.default)
        if isinstance(value, bool) or not isinstance(value, (int, kind)):
            raise InputError(
                f"parameter {name}: {value!r} is not a {'whole ' * (kind is int)}number; "
                f"it is in {self.domain()}"
            )
        if (self.choices and value not in self.choices) or not self.low <= value <= self.high:
            raise InputError(f"parameter {name}: {value} is out of range; it is in {self.domain()}")
        return kind(value)

    def domain(self) -> str:
        """The allowed values in words, for messages and documents."""
        if self.choices:
            return ", ".join(map(str, self.choices))
        return f"{self.low} to {self.high}{' ' + self.unit if self.unit else ''}"


def is_scalar(name: str, value: Any) -> bool:
    """Whether a class attribute declares a scalar of state."""
    return type(value) in (int, float, Param) and not name.startswith("_") and name == name.lower()


def is_constant(name: str, value: Any) -> bool:
    """Whether a class attribute is a compile-time constant."""
    return isinstance(value, (int, float)) and name.isupper()


def declared(attributes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The state that a class body declares: name -> declaration (scalars by default value)."""
    kinds = (Array, Pool, Part, Ref)
    return {k: v for k, v in attributes if isinstance(v, kinds) or is_scalar(k, v)}
