"""Hashes of source code, which results and caches depend on."""

import hashlib
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any

import allocsim
from allocsim.policy import Policy
from allocsim.session_code import has_file, is_of_session, session_hash

_PACKAGE = Path(allocsim.__file__).parent
_IMPORT = re.compile(
    r"^\s*(?:from\s+(allocsim[\w.]*)\s+import\s+(\([^)]*\)|[^\n#]*)|import\s+(allocsim[\w.]*))",
    re.MULTILINE,
)


@cache
def code_hash(*modules: str) -> str:
    """A hash of the sources of modules of allocsim and of all that they import, at any depth.

    Imports inside functions count. A module outside of allocsim is left out: `policy_hash` covers
    the files of users, versions cover installed packages.
    """
    digest = hashlib.sha256(allocsim.__version__.encode())
    for path in sorted(_import_closure(modules)):
        digest.update(str(path.relative_to(_PACKAGE)).encode())
        digest.update(_source(path))
    return digest.hexdigest()


def _import_closure(modules: tuple[str, ...]) -> set[Path]:
    """The files of the modules, of all modules that they import, and of their packages."""
    seen: set[str] = set()
    wanted = {name for name in modules if name.startswith("allocsim.")}
    while wanted:
        module = wanted.pop()
        seen.add(module)
        if (path := _file_of(module)) is not None:
            found = _imported(_source(path).decode()) | {module.rpartition(".")[0]}
            wanted |= found - seen - {"allocsim"}  # which only exports names of the others
    return {path for module in seen if (path := _file_of(module)) is not None}


def _imported(source: str) -> set[str]:
    """The modules, or names in them, that a source imports from allocsim."""
    found: set[str] = set()
    for package, names, module in _IMPORT.findall(source):
        found.add(package or module)
        found |= {f"{package}.{name}" for name in re.findall(r"\w+", names) if package}
    return found


def _file_of(module: str) -> Path | None:
    """The file of a module of allocsim; None where the name is not a module's."""
    path = _PACKAGE.joinpath(*module.split(".")[1:])
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


@cache
def _source(path: Path) -> bytes:
    return path.read_bytes()


def policy_hash(policy: type[Policy]) -> str:
    """A hash of all code that decides what `policy` does: users' files and modules of allocsim.

    A class of an interactive session, of `__main__` or of a function counts as it is now.
    """
    if is_of_session(policy):
        return _hash_of_session(policy)
    return _hash_of_files(policy)  # type: ignore[arg-type]


@cache
def _hash_of_files(policy: type) -> str:
    files, modules = _sources_of(policy)
    digest = hashlib.sha256(policy.__qualname__.encode())
    for path in sorted(files):
        digest.update(path.read_bytes())
    digest.update(code_hash("allocsim.simulation", *sorted(modules)).encode())
    return digest.hexdigest()


def _hash_of_session(policy: type[Policy]) -> str:
    bases = [_hash_of_files(cls) for cls in policy.__mro__ if cls is not object and has_file(cls)]
    return hashlib.sha256(" ".join([session_hash(policy), *bases]).encode()).hexdigest()


def _sources_of(policy: type) -> tuple[set[Path], set[str]]:
    """The files of users behind a policy, and the modules of allocsim that it uses."""
    files: set[Path] = set()
    ours: set[str] = set()
    modules = {inspect.getmodule(cls) for cls in policy.__mro__}
    while modules:
        module = modules.pop()
        path = Path(getattr(module, "__file__", None) or "/")
        if module is not None and _is_ours(path):
            ours.add(module.__name__)
        elif module is not None and path.is_file() and path not in files and _is_users(path):
            files.add(path)
            modules |= {inspect.getmodule(v) for v in vars(module).values() if _has_source(v)}
    return files, ours


def _is_ours(path: Path) -> bool:
    return path.is_relative_to(_PACKAGE) and not path.is_relative_to(_PACKAGE / "_data")


def _is_users(path: Path) -> bool:
    """Whether a source is neither of an installed package (these have versions) nor Python's."""
    if path.is_relative_to(_PACKAGE / "_data"):
        return True
    installed = "site-packages" in path.parts or "dist-packages" in path.parts
    return not (installed or path.is_relative_to(Path(inspect.__file__).parent))


def _has_source(value: Any) -> bool:
    return inspect.ismodule(value) or inspect.isclass(value) or inspect.isfunction(value)
