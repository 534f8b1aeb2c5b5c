"""Reads numbers and sizes as people write them: the one parser for files and command lines."""

import math
import re

from allocsim.errors import printable

_QUANTITY = re.compile(
    r"\s*(?P<number>[+-]?"
    r"(?:0[xX][0-9a-fA-F]+|(?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))"
    r"\s*(?P<unit>B|[KMGTkmgt]|[KMGT]iB)?\s*"
)
"""No `kB` and no `MB`: some mean 1000 by it, others 1024."""

_SCALE = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_MOST_CHARACTERS = 64


def parse_quantity(text: str) -> int | float:
    """The number in a text, with a binary unit or without: `128 KiB`, `64K`, `0x1000`, `0.5`.

    Units are B, K or KiB, M or MiB, G or GiB, T or TiB, also k, m, g and t; with one, the number is
    rounded to whole bytes. Without, it is an integer unless it has decimals or an exponent. Raises
    ValueError, which says what would be right.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"'{printable(text[:40])}…' is too long for a number")
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(
            f"'{printable(text)}' is no size or number; write 131072, '128 KiB' or 128K"
        )
    unit = found["unit"] or ""
    number = _number(found["number"]) * _SCALE[unit[:1].upper()]
    if not math.isfinite(number):
        raise ValueError(f"'{text}' is more than any machine has")
    return round(number) if unit else number


def _number(text: str) -> int | float:
    if "x" in text.lower():
        return int(text, 16)
    return float(text) if set(text) & set(".eE") else int(text)
