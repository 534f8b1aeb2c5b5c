"""What callers of the Python API give, as plain data: NumPy's numbers, paths and ranges will do."""

import operator
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from allocsim.errors import InputError, printable


def plain(value: Any) -> Any:
    """The value as a file would hold it: numbers of Python, texts, lists and dictionaries."""
    match value:
        case np.generic():
            return value.item()
        case Path():
            return str(value)
        case Mapping():
            return {name: plain(each) for name, each in value.items()}
        case list() | tuple() | range() | np.ndarray() | Iterator():
            return [plain(each) for each in value]
    return value


def whole_number(name: str, value: Any, low: int) -> int:
    """The value of the argument `name` as an int of at least `low`; InputError if it is none."""
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name}: must be a whole number, not {shown(value)}") from None
    if number < low:
        raise InputError(f"{name}: must be at least {low}, not {number}")
    return number


def shown(value: Any) -> str:
    """A value in a message: short, in one line."""
    text = printable(repr(value))
    return text if len(text) <= 60 else f"an object of type {type(value).__name__}"
