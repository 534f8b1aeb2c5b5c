"""Functions compiled by numba whose machine code lies in the cache, and never beside the sources.

Numba's own caches are not checked before they are loaded, and notice no change of a constant that
comes from another file.

Leans on these internal parts of numba: a dispatcher's `_cache` and the interface `_Cache` of it,
and `_reduce` and `_rebuild` of what is compiled.
"""

import inspect
import os
import pickle
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from allocsim.cache import publish, scratch_folder, trusted_folder
from allocsim.errors import InputError
from allocsim.sealed import seal, sealed_content

_FOLDER = "loops"  # of the cache
_ROOT = "allocsim."
_SCALARS = (int, float, str, tuple)


def njit_cached(function: Callable[..., Any]) -> Any:
    """The function compiled by numba, without the GIL; its code is kept for later processes."""
    made: Any = numba.njit(nogil=True)(function)
    made._cache = _SealedCache(function)
    return made


class _SealedCache(NullCache):
    """A dispatcher's cache: one sealed file for each signature, named by a hash of its causes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._causes = _causes(function)

    def load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:
        """What was compiled for that signature, if the cache has it."""
        folder = trusted_folder(_FOLDER)
        target_context.refresh()
        path = folder and folder / self._file_name(sig, target_context.codegen())
        content = path and sealed_content(path)
        return CompileResult._rebuild(target_context, *pickle.loads(content)) if content else None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep it; where nothing can be written it is compiled anew each time."""
        if data.library.has_dynamic_globals or any(not each.can_cache for each in data.lifted):
            return
        name = self._file_name(sig, data.codegen)
        with suppress(OSError, InputError), scratch_folder(_FOLDER) as scratch:
            made = scratch / name
            made.write_bytes(dumps(data._reduce()))
            seal(made)
            publish(made, scratch.parent / name)

    def _file_name(self, signature: Any, codegen: Any) -> str:
        causes = repr((*self._causes, str(signature), codegen.magic_tuple()))
        return f"{self._name}-{sha256(causes.encode()).hexdigest()[:24]}"


def _causes(function: Callable[..., Any]) -> tuple[Any, ...]:
    """What the machine code depends on: versions, settings, and whatever the function can name."""
    settings = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith("NUMBA_"))
    constants: list[tuple[Any, ...]] = []
    modules = {function.__module__}
    for name, value in sorted(function.__globals__.items()):
        if isinstance(value, np.ndarray):
            constants.append((name, str(value.dtype), value.shape, value.tobytes()))
        elif isinstance(value, _SCALARS) and not name.startswith("__"):
            constants.append((name, repr(value)))
        else:
            modules.add(str(getattr(value, "__module__", "")))
    sources = [_source(module) for module in sorted(modules) if module.startswith(_ROOT)]
    return (
        numba.__version__,
        np.__version__,
        platform.python_version(),
        settings,
        constants,
        sources,
    )


def _source(module: str) -> str:
    return Path(inspect.getfile(sys.modules[module])).read_text(encoding="utf-8")
