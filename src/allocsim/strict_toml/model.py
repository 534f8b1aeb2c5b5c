"""What models of TOML files share: strictness, and sizes that people can read."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?i?B)\s*")


class StrictModel(BaseModel):
    """A table of a file: unknown keys and values of another type are refused, not bent to fit."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def parse_size(value: Any) -> Any:
    """Bytes of a text such as "128 KiB"; anything but a text is given back as it is."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value)
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"'{value}' is no size; write bytes as a number, or text like '128 KiB'")
    return round(float(match[1]) * _UNITS[match[2]])


SizeBytes = Annotated[int, BeforeValidator(parse_size), Field(ge=0, le=2**47)]
"""A number of bytes: an integer, or text with a binary unit."""
