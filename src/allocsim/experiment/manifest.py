"""The manifest of a results folder: JSON that carries its own hash, and what readers need of it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from allocsim.errors import InputError, printable
from allocsim.experiment.segments import FORMAT
from allocsim.input_files import open_input

_AGAIN = "`allocsim run EXPERIMENT` makes it anew from the runs that are there"


class _Specification(BaseModel):
    tolerance: float = Field(ge=0, allow_inf_nan=False)
    policies: list[dict[str, Any]]


class _Manifest(BaseModel):
    """What figures and the paper read, and what they take for granted of it."""

    name: str
    labels: list[str]
    units: dict[str, str]
    specification: _Specification
    workloads: dict[str, dict[str, Any]]
    turns: list[dict[str, Any]]
    runs_sha256: str


def sha256_of(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def seal_manifest(manifest: dict[str, Any]) -> bytes:
    """The manifest as the file's content, with its hash."""
    plain = json.loads(json.dumps(manifest, default=str))
    return (json.dumps(plain | {"sha256": _hash(plain)}, indent=1) + "\n").encode()


def failed_before(root: Path) -> set[str]:
    """The keys of runs that failed in the sweep that wrote the folder's manifest, if one did."""
    try:
        return {failure["key"] for failure in read_manifest(root / "manifest.json")["failed"]}
    except (InputError, KeyError, TypeError):
        return set()


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest in a file; InputError when it is damaged or of another format."""
    try:
        with open_input(path) as file:
            manifest = json.load(file)
    except (OSError, ValueError, RecursionError):
        raise InputError(f"{printable(path)}: damaged; {_AGAIN}") from None
    if isinstance(manifest, dict) and manifest.get("format") != FORMAT:
        found = str(manifest.get("format"))[:20]
        raise InputError(
            f"{printable(path)}: results of format {printable(found)}, which this version, of "
            f"format {FORMAT}, does not read; `allocsim run EXPERIMENT` computes them again"
        )
    if not _is_sound(manifest):
        raise InputError(f"{printable(path)}: changed or damaged; {_AGAIN}")
    return manifest


def _is_sound(manifest: Any) -> bool:
    try:
        _Manifest.model_validate(manifest)
        plain = {name: value for name, value in manifest.items() if name != "sha256"}
        return _hash(plain) == manifest["sha256"]
    except (ValidationError, KeyError, RecursionError):
        return False


def _hash(manifest: dict[str, Any]) -> str:
    return sha256_of(json.dumps(manifest, sort_keys=True).encode())
