"""How single methods are compiled: to intermediate code only.

Numba makes optimised machine code of every function that another one calls, though only the entry
point, into which all of them are linked and inlined, ever runs. Leaving that out divides the time
to compile a tree by two or more and changes nothing in the result.

Leans on these internal parts of numba: `jit(pipeline_class=…)`, `state.library` of a compiler,
`JITCodeLibrary`, and the environments of a compile result (the objects that code which raises an
exception with arguments needs); tests/component/test_numba_parts.py holds a smoke test.
"""

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class _NoEnvironment:
    """Stands for numba's code generator where an executable would be registered."""

    def set_env(self, name: str, environment: Any) -> None:
        pass


class MethodLibrary(JITCodeLibrary):
    """The code of one method, to be linked into others; there is nothing in it to run."""

    def _optimize_final_module(self) -> None:
        """Left to the entry point's library, which sees all methods at once."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """0: no machine code."""
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> _NoEnvironment:
        return _NoEnvironment()


class MethodCompiler(Compiler):
    """Numba's compiler, with a library that stays intermediate code."""

    def __init__(self, typing: Any, target: Any, library: Any, *others: Any) -> None:
        super().__init__(typing, target, library, *others)
        if self.state.library is None:
            self.state.library = MethodLibrary(target.codegen(), "method")
            self.state.library.enable_object_caching()


def set_environments(entry: Any, signature: tuple) -> None:
    """Give the entry point's code the environments of the methods linked into it.

    Numba does so itself where it loads an entry point from disk.
    """
    result = entry.overloads[signature]
    for environment in result._find_referenced_environments():
        result.library.codegen.set_env(environment.env_name, environment)
