"""Where a trace comes from: enough to judge it, and to record it again."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

WRITTEN_SOURCES = ("measured", "estimated", "assumed", "given")


@dataclass(frozen=True)
class Provenance:
    """Where a trace comes from. Everything is optional; an empty string means unknown.

    program, arguments: the command that ran, or the generator and its specification.
    machine: processor and kernel. c_library: name and version. recorded_at: ISO 8601.
    written_source: how `written` is known: ``measured``, ``estimated`` (from the page map),
    ``assumed`` (every block written in full) or ``given`` (stated by an imported file).
    notes: for people. extras: figures about the run, such as ``peak_rss_bytes``; JSON values.
    """

    program: str = ""
    arguments: tuple[str, ...] = ()
    machine: str = ""
    c_library: str = ""
    recorded_at: str = ""
    written_source: str = "assumed"
    notes: str = ""
    extras: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", tuple(self.arguments))
        if self.written_source not in WRITTEN_SOURCES:
            raise ValueError(
                f"written_source {self.written_source!r}; allowed: {', '.join(WRITTEN_SOURCES)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: Any) -> "Provenance":
        """Back from JSON values that nobody vouches for; raises ValueError when they do not fit."""
        if not isinstance(values, dict):
            raise ValueError("provenance is not a table")
        _check_types(values)
        return cls(**values)


def _check_types(values: dict[str, Any]) -> None:
    expected: dict[str, type] = dict.fromkeys((f.name for f in dataclasses.fields(Provenance)), str)
    expected |= {"arguments": list, "extras": dict}
    for name, value in values.items():
        if name not in expected:
            raise ValueError(f"provenance has an unknown key {name!r}")
        if not isinstance(value, expected[name]):
            raise ValueError(f"provenance key {name!r} is not a {expected[name].__name__}")
    if not all(isinstance(argument, str) for argument in values.get("arguments", [])):
        raise ValueError("provenance key 'arguments' holds something other than strings")
