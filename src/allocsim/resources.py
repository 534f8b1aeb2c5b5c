"""Finds the policies, workloads and experiments that ship with allocsim, wherever it lies."""

from pathlib import Path

from allocsim.input_files import is_file

_PACKAGE = Path(__file__).parent


def folder(kind: str) -> Path:
    """The folder of the shipped files of one kind: "policies", "workloads" or "experiments".

    In a wheel they lie inside the package; in a checkout or an editable install beside `src`.
    """
    packed = _PACKAGE / "_data" / kind
    return packed if packed.is_dir() else _PACKAGE.parents[1] / kind


def find(kind: str, name: str, suffix: str) -> Path | None:
    """The shipped file `name` + `suffix` of that kind, or None.

    `name` may hold sub-folders, but leads to no file elsewhere.
    """
    base = folder(kind)
    path = base / (name if name.endswith(suffix) else name + suffix)
    return path if is_file(path) and path.resolve().is_relative_to(base.resolve()) else None


def names(kind: str, suffix: str) -> list[str]:
    """The names, without suffix, of all shipped files of that kind, sorted."""
    base = folder(kind)
    return sorted(str(p.relative_to(base))[: -len(suffix)] for p in base.rglob(f"*{suffix}"))
