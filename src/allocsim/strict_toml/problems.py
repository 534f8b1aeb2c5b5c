"""Says what is wrong with a value in the file's own words: allowed values, nearest name."""

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from allocsim.errors import printable
from allocsim.strict_toml.lines import KeyPath

_KINDS = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a string",
    "bool_type": "true or false",
    "list_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("greater than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}

_MOST_CHARACTERS = 80


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and the key at which it stands."""

    path: KeyPath
    text: str


def unknown(what: str, name: object, allowed: Iterable[str]) -> str:
    """The text for a name that is none of the allowed ones, with the nearest valid name."""
    allowed = [str(each) for each in allowed]
    given = shortened(name)
    near = difflib.get_close_matches(given, allowed, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"unknown {what} '{given}'; allowed: {', '.join(allowed) or 'none'}{hint}"


def shortened(text: object) -> str:
    """Text of a file in a message: printable, in one line, not much longer than a line."""
    shown = printable(str(text)[: _MOST_CHARACTERS + 1])
    return shown if len(shown) <= _MOST_CHARACTERS else f"{shown[:_MOST_CHARACTERS]}…"


def problems_of(error: ValidationError, model: type[BaseModel], data: Any) -> list[Problem]:
    """The problems behind pydantic's error about `data`, in the order of the file's keys."""
    found = []
    for detail in error.errors(include_url=False):
        names_a_key = detail["type"] in ("missing", "extra_forbidden")
        path = _path_in(data, detail["loc"], names_a_key)
        if detail["type"] == "union_tag_invalid":
            path = (*path, detail["ctx"]["discriminator"].strip("'"))
        found.append(Problem(path, _text(dict(detail), path, model, data)))
    return found


def _path_in(data: Any, location: KeyPath, names_a_key: bool) -> KeyPath:
    """pydantic's location without the tags of unions, which are no keys of the file."""
    path: KeyPath = ()
    for index, step in enumerate(location):
        last = index == len(location) - 1
        if _holds(data, step):
            data = data[step]
        elif not (last and names_a_key):
            continue
        path = (*path, step)
    return path


def _holds(data: Any, step: str | int) -> bool:
    if isinstance(data, list) and isinstance(step, int):
        return step < len(data)
    return isinstance(data, Mapping) and step in data


def _text(detail: dict[str, Any], path: KeyPath, model: type[BaseModel], data: Any) -> str:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown("key", path[-1], _keys_at(model, data, path[:-1]))
    if kind == "missing":
        return "missing; this key is required"
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, not {_show(given)}"
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"must be {words} {context[key]}, not {_show(given)}"
    if kind == "literal_error":
        return unknown("value", given, _split(context["expected"]))
    if kind == "union_tag_invalid":
        return unknown(str(path[-1]), context["tag"], _split(context["expected_tags"]))
    if kind == "union_tag_not_found":
        return f"missing {context['discriminator']}, which says what kind of table this is"
    if kind == "too_short":
        return f"must hold at least {context['min_length']}, not {context['actual_length']}"
    return str(context["error"]) if kind == "value_error" else str(detail["msg"])


def _split(expected: str) -> list[str]:
    return [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]


def _show(value: Any) -> str:
    """A value as the file's author wrote it, shortened."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the string '{shortened(value)}'"
    if isinstance(value, list):
        return "an array"
    return "a table" if isinstance(value, dict) else str(value)


def _keys_at(annotation: Any, data: Any, path: KeyPath) -> list[str]:
    """The keys that the model allows in the table at `path`."""
    annotation = _chosen(annotation, data)
    if path:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            inner = annotation.model_fields[str(path[0])].annotation
        else:
            inner = typing.get_args(annotation)[-1]
        return _keys_at(inner, data[path[0]], path[1:])
    return list(annotation.model_fields)


def _chosen(annotation: Any, data: Any) -> Any:
    """The member of a union (or what `Annotated` wraps) that describes this data."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _chosen(typing.get_args(annotation)[0], data)
    if origin not in (typing.Union, types.UnionType):
        return annotation
    models = [m for m in typing.get_args(annotation) if hasattr(m, "model_fields")]
    fits = [m for m in models if _tags_fit(m, data)]
    return (fits or models or typing.get_args(annotation))[0]


def _tags_fit(model: type[BaseModel], data: Any) -> bool:
    """Whether the keys that tell the union's members apart have this member's values."""
    return all(
        data.get(name, field.default) in typing.get_args(field.annotation)
        for name, field in model.model_fields.items()
        if typing.get_origin(field.annotation) is typing.Literal and field.is_required()
    )
