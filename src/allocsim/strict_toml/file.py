"""A TOML file, what is known of its lines, and the one way to refuse it."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from allocsim.errors import InputError, printable
from allocsim.input_files import read_text
from allocsim.strict_toml import limits
from allocsim.strict_toml.lines import KeyLines, KeyPath
from allocsim.strict_toml.problems import Problem, problems_of, shortened

Model = TypeVar("Model", bound=BaseModel)

_MOST_MESSAGES = 50
_MOST_PROBLEMS = 1000
"""With more than these a file is not meant to be what it is read as."""


@dataclass(frozen=True)
class TomlFile:
    """A file that is valid TOML; nothing is known yet of whether its keys make sense."""

    path: Path
    data: dict[str, Any]
    text: str = field(repr=False)

    @cached_property
    def lines(self) -> KeyLines:
        """Where each key stands; looked for only when there is something to say."""
        return KeyLines(self.text)

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Raises one InputError with a line for each problem, or for the first of very many."""
        if messages := self.messages(problems):
            rest = len(messages) - _MOST_MESSAGES
            if rest > 0:
                messages[_MOST_MESSAGES:] = [f"{printable(self.path)}: and {rest:,} more mistakes"]
            raise InputError("\n".join(messages))

    def messages(self, problems: Iterable[Problem]) -> list[str]:
        """`FILE:LINE: key: what is wrong` for each problem, in the order of the file."""
        places = {(self.lines[p.path], show_path(p.path), p.text) for p in problems}
        name = printable(self.path)
        return [f"{name}:{line}: {key}: {text}" for line, key, text in sorted(places)]


def read_toml(path: Path) -> TomlFile:
    """Reads a file; InputError, with the line, when it is missing, too large or no TOML."""
    text = read_text(path)
    file = TomlFile(path, _parse(printable(path), text), text)
    file.refuse(limits.huge_integers(file.data))
    return file


def _parse(name: str, text: str) -> dict[str, Any]:
    if line := limits.line_of_long_key(text):
        raise InputError(f"{name}:{line}: the key {limits.TOO_DEEP}")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(_syntax(name, text, str(error))) from None
    except ValueError:
        line = limits.line_of_huge_integer(text)
        raise InputError(f"{name}:{line}: a number {limits.TOO_LARGE}") from None
    except RecursionError:
        data = None
    if data is None or limits.is_too_deep(data):
        line = limits.line_of_deep_nesting(text)
        raise InputError(f"{name}:{line}: what begins here {limits.TOO_DEEP}")
    return data


def check_model(model: type[Model], data: dict[str, Any]) -> tuple[Model | None, list[Problem]]:
    """The model of `data`, or None and everything that is wrong with it."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        if error.error_count() > _MOST_PROBLEMS:
            count = f"{error.error_count():,} mistakes"
            return None, [Problem((), f"{count}; is it meant to be another kind of file?")]
        return None, problems_of(error, model, data)


def load_toml(path: Path, model: type[Model]) -> Model:
    """Reads a file into a model; InputError names everything that is wrong, with lines."""
    file = read_toml(path)
    loaded, problems = check_model(model, file.data)
    file.refuse(problems)
    assert loaded is not None
    return loaded


def show_path(path: KeyPath) -> str:
    """A key as people write it: `workloads[1].sizes.median`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return shortened(text.removeprefix(".")) or "the file"


def _syntax(name: str, text: str, message: str) -> str:
    what, _, place = message.rpartition(" (at ")
    if place.startswith("line "):
        line = place.removeprefix("line ").split(",")[0]
    else:
        what, line = what or message, str(text.count("\n") + 1)
    return f"{name}:{line}: {shortened(what[0].lower() + what[1:])}"
