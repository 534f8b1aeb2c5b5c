"""What models of TOML files share: strictness, and sizes that people can read."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from allocsim.quantity import parse_quantity


class StrictModel(BaseModel):
    """A table of a file: unknown keys and values of another type are refused, not bent to fit."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def parse_size(value: Any) -> Any:
    """Bytes of a text such as "128 KiB" or "64K"; anything but a text is given back as it is."""
    return parse_quantity(value) if isinstance(value, str) else value


SizeBytes = Annotated[int, BeforeValidator(parse_size), Field(ge=0, le=2**47)]
"""A number of bytes: an integer, or text with a binary unit."""
