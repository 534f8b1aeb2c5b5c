"""How single methods are compiled: to intermediate code, which the entry point optimises at once.

Numba links every function with all that it calls, wraps it for callers in C and Python, and makes
optimised machine code of it, though only the entry point, into which all of them are linked and
inlined, ever runs. Leaving that out divides the time to compile a tree by four and changes nothing
in the result.

Leans on these internal parts of numba: `jit(pipeline_class=…)`, `state.library` of a compiler,
`JITCodeLibrary`, the timers of a dispatcher, and the environments of a compile result (the objects
that code which raises an exception with arguments needs); tests/component/test_numba_parts.py holds
a smoke test.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import llvmlite.binding as llvm
from numba.core import cgutils, event
from numba.core import typed_passes as typed
from numba.core import untyped_passes as untyped
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import PassManager
from numba.core.errors import NumbaError, UnsupportedBytecodeError

_CALL = re.compile(r'call [^@\n]*@"?([^"(]+)"?\(')


class _NoEnvironment:
    """Stands for numba's code generator where an executable would be registered."""

    def set_env(self, name: str, environment: Any) -> None:
        pass


class MethodLibrary(JITCodeLibrary):
    """The code of one method as LLVM's text; there is nothing in it to run."""

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self.texts: list[str] = []

    def add_ir_module(self, ir_module: Any) -> None:
        """No method is needed for itself once it has been inlined everywhere."""
        for function in ir_module.functions:
            if function.blocks:
                function.linkage = "linkonce_odr"
        self.texts.append(cgutils.normalize_ir_text(str(ir_module)))

    def finalize(self) -> None:
        """Linking and optimising are left to the entry point's library, which sees all methods."""
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """0: no machine code."""
        return 0

    @property
    def codegen(self) -> _NoEnvironment:
        return _NoEnvironment()


class EntryLibrary(JITCodeLibrary):
    """The code of an entry point with all methods that it reaches."""

    def finalize(self) -> None:
        calls: Counter[str] = Counter()
        for library in self._reached():
            if isinstance(library, MethodLibrary):
                for text in library.texts:
                    calls.update(_CALL.findall(text))
                    self._final_module.link_in(llvm.parse_assembly(text))
            else:
                self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._linking_libraries = []
        for function in self._final_module.functions:
            if function.is_declaration or function.name not in calls:
                continue
            if calls[function.name] == 1:
                function.linkage = "internal"
            elif b"alwaysinline" not in b" ".join(function.attributes):
                function.add_function_attribute("noinline")
        super().finalize()

    def _reached(self) -> list[Any]:
        """All libraries that this one leads to, each once."""
        reached: dict[Any, None] = {}
        waiting = list(self._linking_libraries)
        while waiting:
            library = waiting.pop()
            if library not in reached:
                reached[library] = None
                if isinstance(library, MethodLibrary):
                    waiting += library._linking_libraries
        return list(reached)

    def _optimize_final_module(self) -> None:
        """Numba runs cheaper passes first, for the sake of reference counts; here are none."""
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class Refused(Exception):
    """Numba cannot compile a method.

    Deliberately none of numba's own errors: those make it try every call on the way out again with
    its literal arguments, which doubles the work at each level of a deep tree.
    """


class EntryCompiler(Compiler):
    """Numba's compiler for entry points."""

    Library: type[JITCodeLibrary] = EntryLibrary

    def __init__(self, typing: Any, target: Any, library: Any, *others: Any) -> None:
        super().__init__(typing, target, library, *others)
        if self.state.library is None:
            self.state.library = self.Library(target.codegen(), self.Library.__name__)
            self.state.library.enable_object_caching()


class MethodCompiler(EntryCompiler):
    """Numba's compiler for methods, with a library that stays intermediate code.

    Methods have no closures, generators, array expressions or functions to be inlined by numba: the
    passes that look for these are left out.
    """

    Library = MethodLibrary
    PASSES = (
        untyped.TranslateByteCode,
        untyped.FixupArgs,
        untyped.IRProcessing,
        untyped.WithLifting,
        untyped.DeadBranchPrune,
        untyped.GenericRewrites,
        untyped.RewriteDynamicRaises,
        untyped.ReconstructSSA,
        untyped.DeadBranchPrune,
        typed.NopythonTypeInference,
        typed.PreLowerStripPhis,
        typed.NoPythonSupportedFeatureValidation,
        typed.IRLegalization,
        typed.NativeLowering,
        typed.NoPythonBackend,
    )

    def define_pipelines(self) -> list[PassManager]:
        """The only pipeline that numba is to try."""
        manager = PassManager("method")
        for each in self.PASSES:
            manager.add_pass(each, each.__name__)
        manager.finalize()
        return [manager]

    def compile_extra(self, func: Any) -> Any:
        try:
            return super().compile_extra(func)
        except NumbaError as error:
            raise Refused(str(error)) from None
        except UnsupportedBytecodeError as error:  # `with`, `try`: none of the above, and no line
            code = func.__code__
            where = f'File "{code.co_filename}", line {code.co_firstlineno}'
            raise Refused(f"{error}\n{where}") from None


METHOD_OPTIONS: Any = {"pipeline_class": MethodCompiler, "no_cfunc_wrapper": True}
"""How numba is to compile a function that only compiled code calls."""


def set_environments(entry: Any, signature: tuple) -> None:
    """Give the entry point's code the environments of the methods linked into it.

    Numba does so itself where it loads an entry point from disk.
    """
    result = entry.overloads[signature]
    for environment in result._find_referenced_environments():
        result.library.codegen.set_env(environment.env_name, environment)


@contextmanager
def without_timers() -> Iterator[None]:
    """Keep numba from timing compilations: each one that is under way inside of another hears of
    every call into LLVM, which takes a tenth of the time."""
    install_timer = event.install_timer
    event.install_timer = lambda kind, callback: nullcontext()  # type: ignore
    try:
        yield
    finally:
        event.install_timer = install_timer
