"""What numba says of a method that it refuses, as one line for the author: where, and why."""

import inspect
import re
from pathlib import Path

from allocsim.component.base import Component


class Refused(Exception):
    """Numba cannot compile a method.

    Deliberately none of numba's own errors: those make it try every call on the way out again with
    its literal arguments, which doubles the work at each level of a deep tree.
    """


def explain_refusal(cls: type[Component], text: str) -> str:
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
