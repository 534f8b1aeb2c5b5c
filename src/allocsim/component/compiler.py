"""Compiled mode: numba types for component records, and entry points cached on disk.

Each component class, at each place in a tree, becomes a numba record type of its own, with its
methods attached by `overload_method` and constants, pools and references by `overload_attribute`.
The entry point takes the address of the root's record; nothing is converted or copied on the way.

Leans on these semi-internal parts of numba: `types.Record` as a base class, `models.RecordModel`,
`jit_options` of `overload_method`, and `Dispatcher.compile`; tests/component/test_numba_parts.py
holds one smoke test for each.
"""

import gc
import importlib.util
import inspect
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
from numba import carray, types
from numba.core.typing.templates import (
    AttributeTemplate,
    infer_getattr,
    make_overload_attribute_template,
    make_overload_method_template,
)
from numba.extending import intrinsic, models, overload, register_jitable, register_model

from allocsim.cbuild import cache_dir
from allocsim.component import native
from allocsim.component.base import Component, stored_name
from allocsim.component.fields import Array, Part, Parts, PerThread, Pool, Ref
from allocsim.component.method_compiler import (
    METHOD_OPTIONS,
    EntryCompiler,
    Refused,
    set_environments,
    without_timers,
)
from allocsim.component.source import compilable, key
from allocsim.errors import AllocsimError

# "forceinline" is given either way: numba passes a caller's on to what it calls, which would inline
# the whole tree below an inlined method.
_CALLED = METHOD_OPTIONS | {"boundscheck": True, "forceinline": False}
_INLINE = _CALLED | {"forceinline": True}
_GETTER = METHOD_OPTIONS | {"forceinline": True}

native.register()


class NotCompilable(AllocsimError):
    """A component tree that numba refuses; the message names method, line and reason."""


_record_types: dict[tuple[type, ...], Any] = {}
_entries: dict[tuple, Callable] = {}
_calls: dict[tuple, Callable] = {}  # the entries by what `entry` was asked for
_refused: dict[type, NotCompilable] = {}
_jitable: set[Callable] = set(native.NATIVE)


# ---------------------------------------------------------------------------------- types
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

    kind = type(f"{cls.__name__}Record", (types.Record,), {"typeof": typeof})
    register_model(kind)(models.RecordModel)
    made = kind(_members(cls, path), cls.record_dtype().itemsize, True)
    made.name = ".".join(c.__name__ for c in path)  # records compare by name, so it is the path
    _record_types[path] = made
    made.at = _pointer_cast(lambda: made)
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


def _pointer_cast(target: Callable[[], Any]) -> Any:
    """What makes an address a pointer to the type that `target` gives, once that is needed."""

    @intrinsic
    def at(context: Any, address: Any) -> Any:
        def cast(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return target()(types.int64), cast

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
    item = numba.from_dtype(np.dtype(dtype))
    namespace = {"carray": carray, "pointer": _pointer_cast(lambda: types.CPointer(item))}
    return _generated(f"return carray(pointer(self.at_{name}), (self.len_{name},))", namespace)


def _reference(name: str, target: str, path: tuple[type[Component], ...]) -> Callable:
    up = path[:-1]
    depth = len(up)
    while target and depth and target not in up[depth - 1]._fields:
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


# ---------------------------------------------------------------------------------- entries
def entry(cls: type[Component], method: str, arguments: tuple[Any, ...]) -> Callable:
    """The compiled `cls.method`, as a function of (record address, *arguments).

    Compiled on first use and cached on disk under a hash of the whole tree (`source.key`).
    Raises NotCompilable, naming method and line, when numba refuses the tree.
    """
    if cls in _refused:
        raise _refused[cls]
    kinds = (cls, method, *map(_kind_of, arguments))
    if kinds not in _calls:
        _calls[kinds] = _made_entry(cls, method, arguments)
    return _calls[kinds]


def _kind_of(argument: Any) -> Any:
    """What numba's type of an argument depends on: numba takes long to tell."""
    if isinstance(argument, np.ndarray):
        return argument.dtype, argument.ndim, argument.flags.num
    return type(argument)


def _made_entry(cls: type[Component], method: str, arguments: tuple[Any, ...]) -> Callable:
    signature = (types.int64, *map(numba.typeof, arguments))
    if (cls, method, signature) not in _entries:
        module = _entry_module(cls, method, len(arguments))
        try:
            with warnings.catch_warnings(), _no_garbage_collection(), without_timers():
                warnings.simplefilter("ignore")
                module.entry.compile(signature)
                set_environments(module.entry, signature)
        except (numba.errors.NumbaError, Refused) as error:
            _refused[cls] = NotCompilable(_explain(cls, str(error)))
            raise _refused[cls] from None
        _entries[cls, method, signature] = module.entry
    return _entries[cls, method, signature]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Numba makes millions of objects and hardly any garbage: looking for it takes a tenth of the
    time."""
    wanted = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if wanted:
            gc.enable()


def is_cached(cls: type[Component], method: str) -> bool:
    """Whether the machine code of `cls.method` is already on disk or in this process."""
    name = _entry_name(cls, method)  # type: ignore[arg-type]
    return any((cache_dir() / "compiled" / "__pycache__").glob(f"{name}.entry*.nbc"))


@cache
def _entry_name(cls: type[Component], method: str) -> str:
    return f"{cls.__name__}_{method}_{key(cls)}"  # type: ignore[arg-type]


def _entry_module(cls: type[Component], method: str, n_arguments: int) -> ModuleType:
    """The module that holds the entry point: a file of its own, for numba's cache to sit beside."""
    name = _entry_name(cls, method)  # type: ignore[arg-type]
    if name in sys.modules:
        return sys.modules[name]
    path = cache_dir() / "compiled" / f"{name}.py"
    if not path.exists():
        _write_entry(path, method, n_arguments)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    at = _pointer_cast(lambda: record_type(cls))  # which cached code does not need
    module.at, module.EntryCompiler = at, EntryCompiler  # type: ignore[attr-defined]
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module


def _write_entry(path: Path, method: str, n_arguments: int) -> None:
    arguments = "".join(f", a{i}" for i in range(n_arguments))
    text = (
        "from numba import njit\n\n\n"
        "@njit(cache=True, nogil=True, no_cfunc_wrapper=True, pipeline_class=EntryCompiler)\n"
        f"def entry(address{arguments}):\n    return at(address).{method}({arguments[2:]})\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


# ---------------------------------------------------------------------------------- refusals
def _explain(cls: type[Component], text: str) -> str:
    """The innermost method and line that numba stopped at, and why, from its long message."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    spans = _spans(cls)
    where, said = cls.__name__, text
    for place in re.finditer(r'File "([^"]+)", line (\d+)', text):  # the innermost comes first
        name, line = Path(place[1]).name, int(place[2])
        inside = [m for f, first, last, m in spans if f == name and first <= line < last]
        if inside:
            where, said = f"{inside[0]} ({name}:{line})", text[: place.start()]
            break
    return f"{cls.__name__} cannot be compiled: {where}: {_reason(said)}"


def _spans(cls: type[Component]) -> list[tuple[str, int, int, str]]:
    spans = []
    for component in cls.tree():
        for method in component.methods().values():
            lines, first = inspect.getsourcelines(method)
            file = Path(method.__code__.co_filename).name
            spans.append((file, first, first + len(lines), method.__qualname__))
    return spans


def _reason(said: str) -> str:
    lines = [x.strip() for x in said.splitlines() if x.strip()]
    lines = [x for x in lines if not x.startswith(("Failed in", "During:"))]
    named = [x.split("Error: ", 1)[1] for x in lines if "Error: " in x and "Failed in" not in x]
    telling = re.compile(
        r"Unknown|has no|not support|nsupported|Undecided|annot |not defined|Invalid|No impl|unify"
    )
    return (named or [x for x in lines if telling.search(x)] or lines or ["unknown reason"])[-1]
