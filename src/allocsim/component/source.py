"""Method sources: rewritten where compiled code needs it, and hashed for the cache.

Three rewrites, made on the syntax tree so that file and line numbers stay right:

- `super().name(…)` becomes `self.<Base>_name(…)`;
- every `while` loop counts its rounds, so that an endless loop in somebody's policy is an error
  instead of a process that never returns;
- an index becomes unsigned, so that the bounds check is one comparison, and an index below zero is
  out of bounds instead of counting from the end.
"""

import ast
import hashlib
import inspect
import os
import platform
import textwrap
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

from allocsim.component import fields, native
from allocsim.component.base import Component
from allocsim.errors import SimulationError
from allocsim.platform_support import cpu_info

MAX_ROUNDS = 1 << 28
"""Rounds that the loops of one call may make before it is taken for endless."""

_SCALARS = (int, float, str, tuple)


class _Rewrite(ast.NodeTransformer):
    """The rewrites; `base_of` names the class that `super().name` means, or is None.

    For interpreted code indices stay as they are.
    """

    def __init__(self, base_of: Callable[[str], str] | None, compiled: bool) -> None:
        self.base_of, self.compiled, self.loops = base_of, compiled, 0

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node.func:
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super"), args=[]), attr=name):
                if self.base_of is not None:
                    node.func.value = ast.copy_location(ast.Name("self", ast.Load()), node)
                    node.func.attr = f"{self.base_of(name)}_{name}"
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        plain = isinstance(node.slice, (ast.Constant, ast.Slice, ast.Tuple))
        if self.compiled and not plain:
            call = ast.Call(ast.Name("_unsigned", ast.Load()), [node.slice], [])
            for added in (call, call.func):
                ast.copy_location(added, node.slice)
            node.slice = call
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        self.generic_visit(node)
        self.loops += 1
        check = ast.parse(
            f"_rounds += 1\nif _rounds > {MAX_ROUNDS}: raise _Endless('a loop that does not end')"
        ).body
        node.body = check + node.body
        for added in check:
            for part in ast.walk(added):
                ast.copy_location(part, node)
        return node


@cache
def _source_of(method: Callable) -> str:
    """The method's source, on the lines where its file has it."""
    lines, first = inspect.getsourcelines(method)
    return "\n" * (first - 1) + textwrap.dedent("".join(lines))


def tree_of(method: Callable) -> ast.FunctionDef:
    """The method's syntax tree, with the line numbers of its file; a new one each time."""
    function = ast.parse(_source_of(method)).body[0]
    assert isinstance(function, ast.FunctionDef)
    return function


def compilable(cls: type[Component], method: Callable) -> Callable:
    """`method` of `cls`, rewritten for compilation (see the module's text)."""
    return _rewritten(cls, method, compiled=True)


def guard_loops(cls: type[Component]) -> None:
    """Count the rounds of the loops in `cls`'s own methods when they run interpreted, too.

    The methods keep their file and lines, so a debugger follows them as before.
    """
    for name, method in list(vars(cls).items()):
        if inspect.isfunction(method) and _has_loop(tree_of(method)):
            setattr(cls, name, _rewritten(cls, method, compiled=False))


def _has_loop(function: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.While) for node in ast.walk(function))


def _rewritten(cls: type[Component], method: Callable, compiled: bool) -> Callable:
    function = tree_of(method)
    free = method.__code__.co_freevars
    base_of = None
    if "__class__" in free:
        defined_in = method.__closure__[free.index("__class__")].cell_contents  # type: ignore[index]
        below = cls.__mro__[cls.__mro__.index(defined_in) + 1 :]
        base_of = lambda name: next(c.__name__ for c in below if name in vars(c))  # noqa: E731
    rewrite = _Rewrite(base_of, compiled)
    function = rewrite.visit(function)
    if rewrite.loops:
        start = ast.parse("_rounds = 0").body[0]
        for part in ast.walk(start):
            ast.copy_location(part, function)
        function.body.insert(0, start)
    return _made(function, method)


def _made(function: ast.FunctionDef, method: Callable) -> Callable:
    function.decorator_list = []
    module = ast.Module([function], [])
    ours = {"_Endless": SimulationError, "_unsigned": native.unsigned}
    namespace = dict(method.__globals__) | ours
    exec(compile(module, method.__code__.co_filename, "exec"), namespace)
    made = namespace[method.__name__]
    made.__defaults__ = method.__defaults__
    made.__qualname__ = method.__qualname__
    made.__dict__.update(method.__dict__)
    return made


@cache
def key(cls: type[Component]) -> str:
    """A hash of everything that can change the compiled code of a component tree.

    Sources of all methods and of the functions that they use, constants, layouts, versions, and
    this package itself: a stale cache would be a wrong result.
    """
    digest = hashlib.sha256()
    for word in _environment():
        digest.update(word.encode())
    seen: set[Callable] = set()
    for component in cls.tree():
        digest.update(_declaration(component).encode())
        for name, method in sorted(component.methods().items()):
            digest.update(name.encode())
            _add(method, digest, seen)
    return digest.hexdigest()[:24]


@cache
def _environment() -> tuple[str, ...]:
    """What else the machine code depends on: this package, versions, and the processor."""
    own = tuple(
        path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))
    )
    versions = [f"{name} {version(name)}" for name in ("numba", "llvmlite", "numpy")]
    python = (platform.python_version(), platform.machine())
    settings = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith("NUMBA_"))
    return (*versions, *python, *settings, *_processor(), *own)


def _processor() -> list[str]:
    """Model and instructions of the first processor as Linux lists them; elsewhere the machine."""
    telling = ("model name", "flags", "Features", "CPU ")
    listed = [f"{k}: {v}" for k, v in cpu_info().items() if k.startswith(telling)]
    return listed or [platform.system(), platform.processor(), platform.node()]


def _declaration(component: type[Component]) -> str:
    refs = [(k, v.name) for k, v in component._fields.items() if isinstance(v, fields.Ref)]
    pools = [(k, v.dtype) for k, v in component._fields.items() if isinstance(v, fields.Pool)]
    inherits = [c.__name__ for c in component.__mro__]
    return repr((inherits, component._constants, component.record_dtype().descr, refs, pools))


def _add(function: Callable, digest: Any, seen: set[Callable]) -> None:
    """Add what a function does and, through it, whatever global it names."""
    if function in seen:
        return
    seen.add(function)
    digest.update(repr((function.__defaults__, sorted(vars(function)))).encode())
    names: set[str] = set()
    _add_code(function.__code__, digest, names)
    for name in sorted(names):
        value = function.__globals__.get(name)
        if inspect.isfunction(value):
            _add(value, digest, seen)
        elif isinstance(value, _SCALARS):
            digest.update(f"{name}={value!r}".encode())
        elif isinstance(value, np.ndarray):
            digest.update(name.encode() + value.tobytes())
        elif inspect.isclass(value) or inspect.ismodule(value):
            numbers = [(k, int(v)) for k, v in vars(value).items() if isinstance(v, int)]
            digest.update(f"{name}={sorted(numbers)!r}".encode())


def _add_code(code: CodeType, digest: Any, names: set[str]) -> None:
    """Add a function's bytecode, which knows neither comments nor line numbers, and collect the
    names that it uses."""
    names.update(code.co_names)
    digest.update(repr((code.co_names, code.co_varnames, code.co_argcount)).encode())
    digest.update(code.co_code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_code(constant, digest, names)
        elif isinstance(constant, frozenset):
            digest.update(repr(sorted(constant, key=repr)).encode())
        else:
            digest.update(repr(constant).encode())
