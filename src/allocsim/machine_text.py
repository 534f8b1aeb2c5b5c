"""A machine from the texts of a command line: files, and `name=value` pairs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from allocsim.errors import InputError, suggestion
from allocsim.machine import Machine, MachineOptions
from allocsim.quantity import parse_quantity

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def machine_from_text(entries: Iterable[str], costs: Path | None = None) -> Machine:
    """The machine of TOML files and `name=value` pairs, later ones over earlier ones.

    costs: a table of unit costs that replaces the file's. InputError names what is wrong.
    """
    options: dict[str, Any] = {}
    for entry in entries:
        name, equals, text = entry.partition("=")
        if not equals:
            machine = Machine.load(Path(entry))
            options |= {key: getattr(machine, key) for key in machine.model_fields_set}
        elif name not in MachineOptions.model_fields:
            hint = suggestion(name, MachineOptions.model_fields)
            raise InputError(f"--machine {entry}: a machine has no {name!r}; {hint}")
        else:
            options[name] = _value(name, text)
    if costs is not None:
        options["costs"] = costs
    return Machine(**options)


def _value(name: str, text: str) -> Any:
    """The value of a text, of the type of the option."""
    default = MachineOptions.model_fields[name].default
    if isinstance(default, bool):
        if text.lower() not in _TRUTHS:
            raise InputError(f"{name}: '{text}' is neither true nor false")
        return _TRUTHS[text.lower()]
    if isinstance(default, str):
        return text
    try:
        return parse_quantity(text)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
