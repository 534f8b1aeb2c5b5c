"""Quantities in predictions: names of measured numbers, joined by + - * / and parentheses.

A name is what `measure` gives, such as `reuse.use.minor_faults`, `reuse.total.cpu_ns`,
`fits.request.offset(3)`, or a unit cost, such as `cost.mmap_ns`.
"""

import ast
import operator
from collections.abc import Iterator, Mapping

from allocsim.strict_toml import shortened, unknown

_JOINED = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def quantities(text: str) -> list[str]:
    """The names in an expression, in order; ValueError when it is none, or has no names."""
    try:
        names = list(dict.fromkeys(_names(_parsed(text))))
        evaluate(text, dict.fromkeys(names, 1.0))
    except (RecursionError, MemoryError, OverflowError):
        raise ValueError(f"'{shortened(text)}' is too long to be understood") from None
    if not names:
        raise ValueError(f"'{shortened(text)}' names no quantity, such as run.phase.minor_faults")
    return names


def evaluate(text: str, numbers: Mapping[str, float]) -> float:
    """The value of an expression; nan for a division by zero.

    ValueError when it is no expression, or names a number that is not there.
    """
    try:
        return _value(_parsed(text).body, numbers)
    except ZeroDivisionError:
        return float("nan")


def _parsed(text: str) -> ast.Expression:
    try:
        return ast.parse(text.strip(), mode="eval")
    except SyntaxError:
        raise ValueError(f"'{shortened(text)}' is no expression") from None


def _value(node: ast.expr, numbers: Mapping[str, float]) -> float:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value  # type: ignore[return-value]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, numbers)
    if isinstance(node, ast.BinOp) and type(node.op) in _JOINED:
        return _JOINED[type(node.op)](_value(node.left, numbers), _value(node.right, numbers))
    name = _name(node)
    if name is None:
        raise ValueError(f"'{ast.unparse(node)}': only names, numbers and + - * / ( ) are allowed")
    if name not in numbers:
        raise ValueError(_missing(name, numbers))
    return numbers[name]


def _name(node: ast.AST) -> str | None:
    """The dotted name that a node is, with the whole number that may follow in parentheses."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _name(node.value)
        return f"{inner}.{node.attr}" if inner else None
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        inner, argument = _name(node.func), node.args[0]
        if inner and isinstance(argument, ast.Constant) and type(argument.value) is int:
            return f"{inner}({argument.value})"
    return None


def _names(node: ast.AST) -> Iterator[str]:
    if name := _name(node):
        yield name
        return
    for inner in ast.iter_child_nodes(node):
        yield from _names(inner)


def _missing(name: str, numbers: Mapping[str, float]) -> str:
    subject = name.partition(".")[0]
    near = [known for known in numbers if known.startswith(subject + ".")] or numbers
    return unknown("quantity", name, near)
