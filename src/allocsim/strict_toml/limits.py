"""What no file may hold, valid TOML or not: deep nesting, endless keys, integers beyond 64 bits."""

import re
from collections.abc import Iterator
from typing import Any

from allocsim.strict_toml.lines import STRING, KeyPath
from allocsim.strict_toml.problems import Problem

MOST_LEVELS = 64
TOO_DEEP = f"is nested more than {MOST_LEVELS} levels deep"
TOO_LARGE = "is an integer of more than 64 bits"

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}\.[ \t]*){{{MOST_LEVELS}}}")
_HUGE_INTEGER = re.compile(r"[0-9][0-9_]{4299}")
_BRACKET = re.compile(
    rf"(?:{STRING.pattern})|#[^\n]*|(?P<open>[\[{{])|(?P<close>[\]}}])", re.DOTALL
)


def line_of_long_key(text: str) -> int | None:
    """The line of a dotted key of too many parts, over which `tomllib` takes quadratic time."""
    found = _LONG_KEY.search(text)
    return _line(text, found.start()) if found else None


def line_of_huge_integer(text: str) -> int:
    """The line of the integer that Python refused to convert for its length."""
    found = _HUGE_INTEGER.search(text)
    return _line(text, found.start()) if found else 1


def line_of_deep_nesting(text: str) -> int:
    """The line at which brackets are nested too deep; 1 where dotted keys make the depth."""
    depth = 0
    for found in _BRACKET.finditer(text):
        depth += (found["open"] is not None) - (found["close"] is not None)
        if depth > MOST_LEVELS:
            return _line(text, found.start())
    return 1


def is_too_deep(data: dict[str, Any]) -> bool:
    """Whether tables and arrays are nested deeper than recursive code should go."""
    level: list[Any] = [data]
    for _ in range(MOST_LEVELS):
        level = [inner for value in level for inner in _inner(value)]
    return bool(level)


def huge_integers(data: dict[str, Any]) -> Iterator[Problem]:
    """A problem for each integer that TOML has no room for; they cannot even be shown."""
    left: list[tuple[KeyPath, Any]] = [((), data)]
    while left:
        path, value = left.pop()
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(child, dict | list):
                left.append(((*path, key), child))
            elif isinstance(child, int) and not -(2**63) <= child < 2**63:
                yield Problem((*path, key), TOO_LARGE)


def _inner(value: dict[str, Any] | list[Any]) -> list[Any]:
    children = value.values() if isinstance(value, dict) else value
    return [child for child in children if isinstance(child, dict | list)]


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
