"""Component: an ordinary Python class whose declared state lies in one flat record.

The root component owns a NumPy record; parts are sub-records at fixed offsets, so a whole policy
with kernel and heap is one block of memory that compiled code reaches by address. Interpreted,
scalars are plain attributes (copied to and from the record around each compiled call) and arrays
are memoryviews of the record itself, so both modes work on the same state.
"""

import inspect
import types
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from allocsim.component.fields import (
    Array,
    Param,
    Part,
    Parts,
    PerThread,
    Pool,
    Ref,
    declared,
    is_constant,
)
from allocsim.component.first_state import FirstState
from allocsim.component.scalars import Scalars
from allocsim.errors import InputError


def inline(method: Callable) -> Callable:
    """Mark a small method that compiled code shall inline wherever it is called."""
    method.inlined = True  # type: ignore[attr-defined]
    return method


def in_bounds(method: Callable) -> Callable:
    """Mark a method whose indices are checked by other means: compiled, nobody checks them again.

    An index that is out of bounds all the same crashes the process.
    """
    method.in_bounds = True  # type: ignore[attr-defined]
    return method


def host(method: Callable) -> Callable:
    """Mark a method that is never compiled: it may use all of Python."""
    method.host_only = True  # type: ignore[attr-defined]
    return method


class Component:
    """Base of all that simulates: state declared as class attributes, methods in plain Python.

    See `allocsim.component.fields` for the declarations. They end up in `_fields`, not on the
    class: Python finds an attribute of an instance faster if its class has none of that name.
    `setup(self)`, if defined, runs once after the whole tree exists. Every method is also known as
    `<Class>_<method>`: that is what a `super().<method>(…)` call becomes when compiled.
    """

    _fields: ClassVar[dict[str, Any]] = {}
    _constants: ClassVar[dict[str, int | float]] = {}

    def __init_subclass__(cls) -> None:
        own = dict(vars(cls))
        cls._fields = _inherited(cls, "_fields") | declared(own.items())
        cls._constants = _inherited(cls, "_constants") | {
            k: v for k, v in own.items() if is_constant(k, v)
        }
        for name, value in own.items():
            if inspect.isfunction(value) and not name.startswith("__"):
                setattr(cls, f"{cls.__name__}_{name}", value)
        for name in declared(own.items()):
            delattr(cls, name)
        if any(isinstance(value, PerThread) for value in own.values()):
            cls.__setattr__ = _set_and_turn  # type: ignore[assignment]

    def __init__(
        self,
        _record: np.ndarray | None = None,
        _up: Any = None,
        _restarts: bool = False,
        **values: Any,
    ) -> None:
        cls = type(self)
        self._record = np.zeros(1, cls.record_dtype()) if _record is None else _record
        self._up = _up
        self._scalars: list[str] = []
        self._parts: list[Component] = []
        self._sets: list[Component] = []  # of Parts and PerThread: many of a kind
        for name, declaration in cls._fields.items():
            self._place(name, declaration, values)
        if values:
            raise InputError(f"{cls.__name__} has no parameter {', '.join(map(repr, values))}")
        if _up is None:
            self._wire()
            if _restarts:
                self._first_state = FirstState(self)
            self._start()

    @property
    def can_restart(self) -> bool:
        """Whether this root was built with `_restarts`."""
        return "_first_state" in vars(self)

    def restart(self, **parameters: dict[str, Any]) -> None:
        """Become what a new tree with those parameters, by part, would be; `can_restart` only.

        It takes a fraction of the time that building one takes.
        """
        self._first_state.restore(parameters)

    def release_memory(self) -> None:
        """Have the host take back the memory of all pools until `restart`; `can_restart` only."""
        self._first_state.release_memory()

    # ---- the tree
    def _place(self, name: str, declaration: Any, values: dict[str, Any]) -> None:
        """Create one declared piece of state from its declaration and, if given, its value."""
        match declaration:
            case Pool():
                backing, n = declaration.reserve()
                setattr(self, name, _words(backing.data, declaration.dtype))
                address = backing.ctypes.data
                self._record[f"at_{name}"], self._record[f"len_{name}"] = address, n
            case Array():
                setattr(self, name, _words(self._record[name][0].data, declaration.dtype))
            case Part():
                given = declaration.params | values.pop(name, {})
                self._place_parts(name, declaration, given)
            case Ref():
                pass
            case Param():
                given = values.pop(name, declaration.default)
                setattr(self, name, declaration.checked(name, given))
                self._scalars.append(name)
            case _:
                setattr(self, name, type(declaration)(values.pop(name, declaration)))
                self._scalars.append(name)

    def _place_parts(self, name: str, declaration: Part, given: dict[str, Any]) -> None:
        stored = stored_name(name, declaration)
        parts = [
            declaration.cls(_record=self._record[stored][:, i], _up=self, **given)
            for i in range(declaration.n)
        ]
        single = not isinstance(declaration, (Parts, PerThread))
        (self._parts if single else self._sets).extend(parts)
        setattr(self, stored, parts[0] if single else parts)
        if isinstance(declaration, PerThread):
            self.turn_to_thread()

    def turn_to_thread(self) -> None:
        """Have what each thread has for itself, as `self.name`, be that of the thread `thread`.

        It is looked up when another thread's turn comes, not in every access.
        """
        own = vars(self)
        for name, declaration in self._fields.items():
            if isinstance(declaration, PerThread) and f"each_{name}" in own:
                own[name] = own[f"each_{name}"][self.thread]  # type: ignore[attr-defined]

    def _wire(self) -> None:
        """Resolve the references of the whole tree, outwards by name."""
        for name, declaration in self._fields.items():
            if isinstance(declaration, Ref):
                target = self._find(name, declaration)
                setattr(self, name, target)
                self._record[f"at_{name}"] = target._record.ctypes.data
        for part in (*self._parts, *self._sets):
            part._wire()
            part._up = None

    def _find(self, name: str, ref: Ref) -> "Component":
        owner = self._up
        while owner and ref.name and not isinstance(owner._fields.get(ref.name), Part):
            owner = owner._up
        if owner is None:
            raise InputError(
                f"{type(self).__name__}.{name}: no enclosing component has a part {ref.name!r}"
            )
        return getattr(owner, ref.name) if ref.name else owner

    def _start(self) -> None:
        for part in (*self._parts, *self._sets):
            part._start()
        if hasattr(self, "setup"):
            self.setup()

    # ---- what a class declares
    @classmethod
    def parameters(cls) -> dict[str, Param]:
        """The parameters that a user may set, by name."""
        return {k: v for k, v in cls._fields.items() if isinstance(v, Param)}

    @classmethod
    def methods(cls) -> dict[str, Callable]:
        """The methods that are compiled: all but Component's own and those marked @host."""
        return {
            name: method
            for name, method in inspect.getmembers(cls, inspect.isfunction)
            if not name.startswith("__")
            and method.__module__ != __name__
            and not hasattr(method, "host_only")
        }

    @classmethod
    def tree(cls) -> Iterator[type["Component"]]:
        """This class and the classes of all its parts, outermost first."""
        yield cls
        for declaration in cls._fields.values():
            if isinstance(declaration, Part):
                yield from declaration.cls.tree()  # type: ignore[attr-defined]

    @classmethod
    def record_dtype(cls) -> np.dtype:
        """The record's layout: scalars and addresses of 8 bytes each, arrays and parts in place."""
        layout: list[tuple] = []
        for name, declaration in cls._fields.items():
            match declaration:
                case Pool():
                    layout += [(f"at_{name}", "i8"), (f"len_{name}", "i8")]
                case Ref():
                    layout.append((f"at_{name}", "i8"))
                case Array():
                    layout.append((name, declaration.dtype, (declaration.n,)))
                case Part():
                    stored = stored_name(name, declaration)
                    part: Any = declaration.cls
                    layout.append((stored, part.record_dtype(), (declaration.n,)))
                case _:
                    layout.append((name, scalar_dtype(declaration)))
        return np.dtype(layout or [("nothing", "i8")], align=True)

    # ---- running
    def run(self, method: str, *arguments: Any, compiled: bool = False, settle: bool = True) -> Any:
        """`self.method(*arguments)`, either way; arguments are integers and NumPy arrays.

        Compiled, it raises `allocsim.component.entry.NotCompilable` if the tree cannot be compiled.
        Without `settle` the scalars of parts that there are many of (arenas, what each thread has)
        stay with the compiled code, which saves copying them around every call: Python's
        attributes are stale until `settle()`.
        """
        if not compiled:
            self.settle()
            views = [a.data if isinstance(a, np.ndarray) else a for a in arguments]
            return getattr(self, method)(*views)
        from allocsim.component.entry import entry

        call = entry(type(self), method, arguments)
        self._mirror.push()
        try:
            return call(self._record.ctypes.data, *arguments)
        finally:
            self._mirror.pull(settle)

    def settle(self) -> None:
        """Have all scalars in Python's attributes, after runs that left some behind."""
        if "_mirror" in vars(self):
            self._mirror.settle()

    @cached_property
    def _mirror(self) -> Scalars:
        return Scalars(self)

    def close(self) -> None:
        """Give the memory of the whole tree up, which cannot be used any more.

        Otherwise the host has it until Python's garbage collector comes by, since parts refer to
        each other. A policy may have a method of that name that means something else.
        """
        own = vars(self)
        for part in (*own.get("_parts", ()), *own.get("_sets", ())):
            Component.close(part)
        own.clear()


def _set_and_turn(self: Component, name: str, value: Any) -> None:
    """`__setattr__` of components with parts that each thread has for itself."""
    object.__setattr__(self, name, value)
    if name == "thread":
        self.turn_to_thread()


def stored_name(name: str, declaration: Part) -> str:
    """The name under which parts lie in the record and on the instance."""
    return f"each_{name}" if isinstance(declaration, PerThread) else name


def scalar_dtype(declaration: Any) -> str:
    """The record's type for a scalar: 64-bit integer or float."""
    default = declaration.default if isinstance(declaration, Param) else declaration
    return "f8" if isinstance(default, float) else "i8"


def variant(cls: type[Component], name: str, **attributes: Any) -> type[Component]:
    """A subclass of `cls` with some declarations replaced, in its module so that it compiles."""
    return types.new_class(
        name, (cls,), {}, lambda ns: ns.update(attributes, __module__=cls.__module__)
    )


def _inherited(cls: type, what: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for base in reversed(cls.__mro__[1:]):
        merged |= vars(base).get(what, {})
    return merged


def _words(memory: memoryview, dtype: str) -> memoryview:
    """A view of one element type; NumPy and `cast` call 64-bit integers by different names."""
    format: Any = {"i8": "q", "i4": "i", "u1": "B", "i1": "b"}[dtype]
    return memory.cast("B").cast(format)
