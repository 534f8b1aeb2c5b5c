"""Odd values for one field of a valid input, and damage to its bytes."""

import copy
import json
import math
from random import Random
from typing import Any

NUMBERS = (
    0, 1, 2, 3, -1, 7, 63, 64, 65, 100, 4095, 4096, 2**31 - 1, 2**31, 2**32, 2**47, 2**47 + 1,
    2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**31) - 1, -(2**63), -(2**63) - 1,
    10**30, 10**400, 0.0, -0.0, 0.5, -1.5, 1e-300, 1e308, 1e20, math.nan, math.inf, -math.inf,
)  # fmt: skip
TEXTS = (
    "", " ", "x", "x" * 10_000, "[bold]x[/bold]", "[/]", "[red", "$x_$", "$\\frac{", "%s{0}{}",
    "\x1b[31mred\x1b]0;pwn\x07", "\0", "a\nb", "\u202egnirts", "é", "\U0001f600", "\ufeff", "../x",
    "/", ".", "~", "/dev/zero", "/dev/null", "/proc/self/mem", "nan", "inf", "1e999", "-1",
    "4 KiB", "-4 KiB", "1e400 GiB", "99999999999999999999 TiB", "0x10", "1_000", "glibc", "churn",
    "none", "a:b", "a=b", "a,b", "a;b", "|", "<script>", "&lt;", "\\", '"', "'", "--help", "-o",
)  # fmt: skip
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [{}], [None], {"": 0}, {"x": {"y": []}})
DEPTHS = (3, 30, 100)
DEEP, VERY_DEEP = "nested far deeper than Python calls", 20_000
"""Stands for so many lists in each other, until the text is written."""


def odd_value(random: Random) -> Any:
    """Something that the field was not meant for."""
    kind = random.random()
    if kind < 0.4:
        return random.choice(NUMBERS)
    if kind < 0.75:
        return random.choice(TEXTS)
    if kind < 0.95:
        return copy.deepcopy(random.choice(OTHERS))
    if random.random() < 0.5:
        return DEEP
    value: Any = 0
    for _ in range(random.choice(DEPTHS)):
        value = [value] if random.random() < 0.5 else {"x": value}
    return value


def changed_tree(random: Random, tree: Any) -> Any:
    """A copy of nested tables and lists with one field changed, now and then two or three.

    Half of the changes leave a number that may well be allowed, and so reach further than a check.
    """
    tree = copy.deepcopy(tree)
    if random.random() < 0.5:
        numbers = [(n, k) for n, k in _nodes(tree) if isinstance(n[k], int | float)]
        for node, key in random.sample(numbers, min(len(numbers), random.choice((1, 2, 4)))):
            node[key] = _near(random, node[key])
        return tree
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if nodes := list(_nodes(tree)):
            _change(random, *random.choice(nodes))
    return tree


def _nodes(tree: Any, depth: int = 0) -> Any:
    """Each table or list with each of its keys."""
    if depth > 20:
        return
    keys = range(len(tree)) if isinstance(tree, list) else list(tree)
    for key in keys:
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _nodes(tree[key], depth + 1)


def _change(random: Random, node: Any, key: Any) -> None:
    kind = random.random()
    if kind < 0.6:
        node[key] = odd_value(random)
    elif kind < 0.65:
        del node[key]
    elif isinstance(node, list):
        node[key:key] = [copy.deepcopy(node[key])] * random.choice((1, 3, 1000))
    elif kind < 0.9:
        name = random.choice((random.choice(TEXTS), str(key) + "s", str(key).upper()))
        node[name] = node.pop(key) if random.random() < 0.5 else odd_value(random)
    else:
        node[key] = [node[key]]


def _near(random: Random, value: int | float) -> Any:
    """A number that may well be allowed."""
    factor = random.choice((0, 0.5, 2, 3, 10, 1000, 2**20, 2**40))
    scaled = value * factor if isinstance(value, float) else int(value * factor)
    return random.choice((scaled, scaled, scaled, value + 1, value + 1, -value, not value))


def changed_bytes(random: Random, data: bytes) -> bytes:
    """The bytes with some of them damaged."""
    content = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5, 20))):
        place = random.randrange(len(content) + 1)
        end = min(len(content), place + random.choice((1, 2, 4, 8, 100)))
        kind = random.randrange(7)
        if kind == 0:
            content[place:] = b""
        elif kind == 1:
            content[place:place] = random.randbytes(random.choice((1, 3, 50)))
        elif kind == 2:
            content[place:end] = b""
        elif kind == 3:
            content[place:place] = content[place:end] * random.choice((1, 2, 50))
        else:
            filler = random.choice((b"\0", b"\xff", b"\x7f", b"\x80", b"\n", b'"', b"[", b"\x1b"))
            fill = random.randbytes(end - place) if kind < 6 else filler * (end - place)
            content[place:end] = fill
    return bytes(content)


def to_toml(tree: dict[str, Any]) -> str:
    """A table as TOML; what TOML cannot say stays a mistake."""
    return _deep("".join(f"{_key(key)} = {_toml(value)}\n" for key, value in tree.items()))


def to_json(tree: Any) -> str:
    """The values as JSON."""
    return _deep(json.dumps(tree))


def _deep(text: str) -> str:
    return text.replace(f'"{DEEP}"', "[" * VERY_DEEP + "]" * VERY_DEEP)


def _toml(value: Any) -> str:
    """A value, inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value)
    return "null" if value is None else str(value)


def _key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else json.dumps(key)
