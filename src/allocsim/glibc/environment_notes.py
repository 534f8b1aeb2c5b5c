"""What glibc ignores in its environment variables, or reads otherwise than it is meant."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from allocsim.glibc.environment import (
    PREFIX,
    RANGES,
    STRICT_FROM,
    TUNABLES_VARIABLE,
    VARIABLES,
    number_read,
    unread,
)
from allocsim.glibc.versions import VERSIONS

_SHIFTS = {"K": 10, "M": 20, "G": 30}
_NOT_MODELLED = ("check",)


def notes_on_environment(environment: Mapping[str, str], version: float = VERSIONS[0]) -> list[str]:
    """A sentence for each setting of `environment` that has no effect, or another one."""
    notes: list[str] = []
    for variable, text in environment.items():
        if variable in VARIABLES:
            notes += _on_value(variable, VARIABLES[variable], text, version)
        elif variable == TUNABLES_VARIABLE and text:
            notes += _on_tunables(text.removeprefix(f"{TUNABLES_VARIABLE}="), version)
    return notes


def _on_tunables(text: str, version: float) -> Iterator[str]:
    parts = text.split(":")
    if version >= STRICT_FROM and (broken := _breaking(parts)) is not None:
        yield (
            f"{TUNABLES_VARIABLE}: glibc {version:.2f} ignores the whole string, since {broken!r} "
            "is no name=value"
        )
        return
    for part in parts:
        name, equals, value = part.partition("=")
        short = name.removeprefix(PREFIX)
        if not equals:
            if part:
                yield f"{TUNABLES_VARIABLE}: glibc ignores {part!r}, which is no name=value"
        elif name.startswith(PREFIX) and short in RANGES:
            yield from _on_value(name, short, value, version)
        elif name.startswith(PREFIX) and short in _NOT_MODELLED:
            yield f"{TUNABLES_VARIABLE}: allocsim does not model {name}"
        elif name.startswith(PREFIX) or not name.startswith("glibc."):
            yield f"{TUNABLES_VARIABLE}: glibc ignores {name!r}, which is no tunable{_hint(short)}"


def _breaking(parts: list[str]) -> str | None:
    """The part for which later versions ignore the whole string."""
    if "=" not in parts[-1]:
        return parts[-1]
    return next((part for part in parts if part.count("=") > 1), None)


def _hint(name: str) -> str:
    near = get_close_matches(name.rpartition(".")[2], RANGES, 1)
    return f"; did you mean {PREFIX}{near[0]}?" if near else ""


def _on_value(name: str, parameter: str, text: str, version: float) -> Iterator[str]:
    setting, value = f"{name}={text}", number_read(parameter, text, version)
    (low, high), rest = RANGES[parameter], unread(text)
    if value is None:
        yield f"glibc {version:.2f} ignores {setting!r}, which is no number{_in_bytes(text)}"
    elif not low <= value <= high:
        yield f"glibc ignores {setting!r}, which is out of the range {low} to {high}"
    elif rest and version < STRICT_FROM:
        yield f"glibc {version:.2f} reads {setting!r} as {value}{_in_bytes(text)}"
    elif text.strip()[:1] == "0" and value != 0 and not text.strip().lower().startswith("0x"):
        yield f"glibc reads {setting!r} as {value}: a number that begins with 0 is octal"


def _in_bytes(text: str) -> str:
    """What to write instead of a number with K, M or G, which glibc does not know."""
    digits, unit = text[:-1].strip(), text[-1:].upper()
    if unit not in _SHIFTS or not digits.isdecimal():
        return ""
    return f"; it knows no units, write {int(digits) << _SHIFTS[unit]}"
