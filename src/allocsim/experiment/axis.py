"""Axes of a grid: the values that one parameter takes."""

import math
from typing import Annotated, Any

from pydantic import BeforeValidator

from allocsim.strict_toml import parse_size, shortened, unknown

_MOST_VALUES = 10_000


def expand_axis(value: Any) -> list[Any]:
    """The values of an axis: a list as it is, or `{ from, to, factor }` or `{ from, to, step }`.

    Sizes may be texts such as "4 KiB". Both ends of a range belong to it. Raises ValueError, which
    says what would be right.
    """
    if isinstance(value, dict):
        values = _range(value)
    elif isinstance(value, list):
        values = [_number(each) for each in value]
    else:
        raise ValueError("must be a list of values, or a table { from, to, factor }")
    if not values:
        raise ValueError("needs at least one value")
    if len(set(values)) < len(values):
        raise ValueError("holds a value twice")
    return values


Axis = Annotated[list[Any], BeforeValidator(expand_axis)]


def _number(value: Any) -> int | float:
    value = parse_size(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"must hold numbers or sizes such as '4 KiB', not {shortened(value)}")
    return value


def _range(table: dict[str, Any]) -> list[int | float]:
    for key in table:
        if key not in ("from", "to", "factor", "step"):
            raise ValueError(unknown("key", key, ["from", "to", "factor", "step"]))
    if not {"from", "to"} <= table.keys() or ("factor" in table) == ("step" in table):
        raise ValueError("a range needs from, to, and either factor or step")
    low, high = _number(table["from"]), _number(table["to"])
    if low > high:
        raise ValueError(f"from ({low}) must not be above to ({high})")
    if "factor" in table:
        return _geometric(low, high, _number(table["factor"]))
    return _arithmetic(low, high, _number(table["step"]))


def _geometric(low: int | float, high: int | float, factor: int | float) -> list[int | float]:
    if factor <= 1 or low <= 0:
        raise ValueError("a range by factor needs a factor above 1 and a from above 0")
    return _collect(low, high, lambda value: value * factor)


def _arithmetic(low: int | float, high: int | float, step: int | float) -> list[int | float]:
    if step <= 0:
        raise ValueError("step must be above 0")
    return _collect(low, high, lambda value: value + step)


def _collect(low: int | float, high: int | float, following: Any) -> list[int | float]:
    values = []
    while low <= high:
        values.append(low)
        if len(values) > _MOST_VALUES:
            raise ValueError(f"gives more than {_MOST_VALUES} values")
        low = following(low)
    return values
