"""A TOML file, what is known of its lines, and the one way to refuse it."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from allocsim.errors import InputError
from allocsim.strict_toml.lines import KeyLines, KeyPath
from allocsim.strict_toml.problems import Problem, problems_of

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class TomlFile:
    """A file that is valid TOML; nothing is known yet of whether its keys make sense."""

    path: Path
    data: dict[str, Any]
    lines: KeyLines

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Raises one InputError with a line for each problem, if there are any."""
        if messages := self.messages(problems):
            raise InputError("\n".join(messages))

    def messages(self, problems: Iterable[Problem]) -> list[str]:
        """`FILE:LINE: key: what is wrong` for each problem, in the order of the file."""
        places = {(self.lines[p.path], show_path(p.path), p.text) for p in problems}
        return [f"{self.path}:{line}: {key}: {text}" for line, key, text in sorted(places)]


def read_toml(path: Path) -> TomlFile:
    """Reads a file; InputError, with the line, when it is missing or no TOML."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 text"
        raise InputError(f"{path}: cannot be read: {reason}") from None
    try:
        return TomlFile(path, tomllib.loads(text), KeyLines(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(_syntax(path, text, str(error))) from None


def check_model(model: type[Model], data: dict[str, Any]) -> tuple[Model | None, list[Problem]]:
    """The model of `data`, or None and everything that is wrong with it."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
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
    return text.removeprefix(".") or "the file"


def _syntax(path: Path, text: str, message: str) -> str:
    what, _, place = message.rpartition(" (at ")
    if place.startswith("line "):
        line = place.removeprefix("line ").split(",")[0]
    else:
        what, line = what or message, str(text.count("\n") + 1)
    return f"{path}:{line}: {what[0].lower()}{what[1:]}"
