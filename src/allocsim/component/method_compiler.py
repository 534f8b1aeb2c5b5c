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
from numba.core.errors import NumbaError, UnsupportedBytecodeError


class _NoEnvironment:
    """Stands for numba's code generator where an executable would be registered."""

    def set_env(self, name: str, environment: Any) -> None:
        pass


class MethodLibrary(JITCodeLibrary):
    """The code of one method, to be linked into others; there is nothing in it to run."""

    def add_ir_module(self, ir_module: Any) -> None:
        """Methods that are not marked @inline stay calls: left to itself, LLVM copies the small
        ones into each other until the module no longer fits into memory."""
        for function in ir_module.functions:
            if function.blocks and "alwaysinline" not in function.attributes:
                function.attributes.add("noinline")
        super().add_ir_module(ir_module)

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


class Refused(Exception):
    """Numba cannot compile a method.

    Deliberately none of numba's own errors: those make it try every call on the way out again with
    its literal arguments, which doubles the work at each level of a deep tree.
    """


class MethodCompiler(Compiler):
    """Numba's compiler, with a library that stays intermediate code."""

    def __init__(self, typing: Any, target: Any, library: Any, *others: Any) -> None:
        super().__init__(typing, target, library, *others)
        if self.state.library is None:
            self.state.library = MethodLibrary(target.codegen(), "method")
            self.state.library.enable_object_caching()

    def compile_extra(self, func: Any) -> Any:
        try:
            return super().compile_extra(func)
        except NumbaError as error:
            raise Refused(str(error)) from None
        except UnsupportedBytecodeError as error:  # `with`, `try`: none of the above, and no line
            code = func.__code__
            where = f'File "{code.co_filename}", line {code.co_firstlineno}'
            raise Refused(f"{error}\n{where}") from None


def set_environments(entry: Any, signature: tuple) -> None:
    """Give the entry point's code the environments of the methods linked into it.

    Numba does so itself where it loads an entry point from disk.
    """
    result = entry.overloads[signature]
    for environment in result._find_referenced_environments():
        result.library.codegen.set_env(environment.env_name, environment)
