"""Numba types for component records, with their methods and attributes attached.

Each component class, at each place in a tree, becomes a numba record type of its own: methods are
overloads of their rewritten sources; constants, pools, references and what each thread has are
overloaded attributes.

Leans on these semi-internal parts of numba: `types.Record` as a base class, `models.RecordModel`,
and the templates that `overload_method` and `overload_attribute` make;
tests/component/test_numba_parts.py holds one smoke test for each.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import (
    AttributeTemplate,
    infer_getattr,
    make_overload_attribute_template,
    make_overload_method_template,
)
from numba.extending import intrinsic, models, overload, register_jitable, register_model
from numba.np.arrayobj import make_array, populate_array

from allocsim.component import native, native_compiled
from allocsim.component.base import Component, stored_name
from allocsim.component.fields import Array, Part, Parts, PerThread, Pool, Ref
from allocsim.component.method_compiler import METHOD_OPTIONS
from allocsim.component.source import compilable

# "forceinline" is given either way: numba passes a caller's on to what it calls, which would inline
# the whole tree below an inlined method.
_CALLED = METHOD_OPTIONS | {"boundscheck": True, "forceinline": False}
_INLINE = _CALLED | {"forceinline": True}
_GETTER = METHOD_OPTIONS | {"forceinline": True}

native_compiled.register()

_record_types: dict[tuple[type, ...], Any] = {}
_jitable: set[Callable] = set(native.NATIVE)


def record_type(cls: type[Component], up: tuple[type[Component], ...] = ()) -> Any:
    """The numba type of `cls` below the enclosing classes `up`, with everything attached to it."""
    path = (*up, cls)
    if path in _record_types:
        return _record_types[path]

    def typeof(self: Any, name: str) -> Any:
        if name not in self.fields:
            raise numba.errors.NumbaAttributeError(
                f"{cls.__name__} has no field or method {name!r}"
            )
        return self.fields[name].type

    # Numba asks for a record's text all the time, and would spell out the whole tree each time.
    own = {"typeof": typeof, "__repr__": lambda self: self.name}
    kind = type(f"{cls.__name__}Record", (types.Record,), own)
    register_model(kind)(models.RecordModel)
    made = kind(_members(cls, path), cls.record_dtype().itemsize, True)
    made.name = ".".join(c.__name__ for c in path)  # records compare by name, so it is the path
    _record_types[path] = made
    made.at = pointer_cast(lambda: made)
    _attach(cls, kind, path)
    return made


def _members(cls: type[Component], path: tuple[type[Component], ...]) -> list[tuple[str, dict]]:
    layout: Any = cls.record_dtype().fields or {}
    declared = {stored_name(k, v) if isinstance(v, Part) else k: v for k, v in cls._fields.items()}
    members = []
    for name, (dtype, offset, *_) in layout.items():
        match declared.get(name):
            case Part() as part:
                kind = record_type(part.cls, path)
                if isinstance(part, (Parts, PerThread)):
                    kind = types.NestedArray(kind, (part.n,))
            case Array(item, n):
                kind = types.NestedArray(numba.from_dtype(np.dtype(item)), (n,))
            case _:
                kind = numba.from_dtype(dtype)
        members.append((name, {"type": kind, "offset": offset}))
    return members


def pointer_cast(target: Callable[[], Any]) -> Any:
    """What makes an address a pointer to the type that `target` gives, once that is needed."""

    @intrinsic
    def at(context: Any, address: Any) -> Any:
        def cast(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return target()(types.int64), cast

    return at


def array_at(dtype: str) -> Any:
    """What makes an array of the elements of that type from their address and number."""
    item = numba.from_dtype(np.dtype(dtype))
    item_bytes = np.dtype(dtype).itemsize

    @intrinsic
    def at(context: Any, address: Any, n: Any) -> Any:
        def view(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = signature.return_type
            array = make_array(kind)(context, builder)
            data = builder.inttoptr(arguments[0], context.get_data_type(item).as_pointer())
            size = cgutils.intp_t(item_bytes)
            populate_array(
                array, data=data, shape=[arguments[1]], strides=[size], itemsize=size, meminfo=None
            )
            return array._getvalue()

        return types.Array(item, 1, "C")(types.int64, types.int64), view

    return at


def _attach(cls: type[Component], kind: type, path: tuple[type[Component], ...]) -> None:
    attributes: dict[str, type[AttributeTemplate]] = {}
    for name, method in cls.methods().items():
        _make_jitable(method)
        options = _INLINE if hasattr(method, "inlined") else _CALLED
        if hasattr(method, "in_bounds"):
            options = options | {"boundscheck": False}
        template = _template(name, method, compilable(cls, method))
        overload(template, jit_options=options)(template)
        attributes[name] = make_overload_method_template(kind, name, template, "never")
    for name, getter in _getters(cls, path):
        overload(getter, jit_options=_GETTER)(getter)
        attributes[name] = make_overload_attribute_template(kind, name, getter)
    _look_up(kind, attributes)


def _look_up(kind: type, attributes: dict[str, type[AttributeTemplate]]) -> None:
    """Have numba find the attributes of a type by name; it would try one after the other."""

    class Attributes(AttributeTemplate):
        key = kind

        def __init__(self, context: Any) -> None:
            super().__init__(context)
            self.made = {name: template(context) for name, template in attributes.items()}

        def generic_resolve(self, record: Any, name: str) -> Any:  # type: ignore[override]
            return self.made[name].resolve(record, name) if name in self.made else None

    infer_getattr(Attributes)


def _getters(
    cls: type[Component], path: tuple[type[Component], ...]
) -> Iterator[tuple[str, Callable]]:
    """What numba calls for the constants, pools, parts of threads and references of a class."""
    for name, value in cls._constants.items():
        yield name, _typed(_constant(int(value) if isinstance(value, int) else value))
    for name, declaration in cls._fields.items():
        match declaration:
            case Pool(dtype):
                yield name, _typed(_pool_view(name, dtype))
            case PerThread():
                body = f"return self.each_{name}[unsigned(self.thread)]"
                yield name, _typed(_generated(body, {"unsigned": native.unsigned}))
            case Ref(target):
                yield name, _reference(name, target, path)


def _typed(getter: Callable) -> Callable:
    return lambda self: getter


def _template(name: str, method: Callable, body: Callable) -> Callable:
    """What overload_method wants: a function of the method's signature that returns the body."""
    arguments = ", ".join(inspect.signature(method).parameters)
    namespace: dict[str, Any] = {"body": body}
    exec(f"def {name}({arguments}): return body", namespace)
    namespace[name].__defaults__ = method.__defaults__
    namespace[name].__signature__ = inspect.signature(namespace[name])  # asked for very often
    return namespace[name]


def _constant(value: int | float) -> Callable:
    return lambda self: value


def _generated(body: str, namespace: dict[str, Any]) -> Callable:
    exec(f"def get(self): {body}", namespace)
    return namespace["get"]


def _pool_view(name: str, dtype: str) -> Callable:
    return _generated(f"return at(self.at_{name}, self.len_{name})", {"at": array_at(dtype)})


def _reference(name: str, target: str, path: tuple[type[Component], ...]) -> Callable:
    up = path[:-1]
    depth = len(up)
    while target and depth and not isinstance(up[depth - 1]._fields.get(target), Part):
        depth -= 1

    # Resolved when first used: the target may not exist yet. Numba wants no annotations here.
    def getter(self):
        owner = up[depth - 1]
        if target:
            kind = record_type(owner._fields[target].cls, up[:depth])
        else:
            kind = record_type(owner, up[: depth - 1])
        return _generated(f"return at(self.at_{name})", {"at": kind.at})

    return getter


def _make_jitable(function: Callable) -> None:
    """Make the plain functions that a method uses callable from compiled code."""
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if inspect.isfunction(value) and value not in _jitable:
            _jitable.add(value)
            _make_jitable(value)
            register_jitable(**_CALLED)(value)
