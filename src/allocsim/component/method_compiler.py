"""How single methods are compiled: to intermediate code, which `linker` optimises all at once.

Numba links every function with all that it calls, wraps it for callers in C and Python, and makes
optimised machine code of it, though only the entry point, into which all of them are linked and
inlined, ever runs. Leaving that out divides the time to compile a tree by four and changes nothing
in the result.

Leans on these internal parts of numba: `jit(pipeline_class=…)`, `state.library` and
`state.targetctx` of a compiler, `JITCodeLibrary`, `PassManager.run`, `Flags` and `ConfigStack`,
`resolve_function_type` of the typing context, and the timers of a dispatcher;
tests/component/test_numba_parts.py holds smoke tests.
"""

import operator
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from numba.core import cgutils, event, types
from numba.core import typed_passes as typed
from numba.core import untyped_passes as untyped
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, Flags
from numba.core.compiler_machinery import (
    FunctionPass,
    PassManager,
    _pass_registry,
    register_pass,
)
from numba.core.errors import NumbaError, UnsupportedBytecodeError
from numba.core.registry import cpu_target
from numba.core.targetconfig import ConfigStack

from allocsim.component.convention import Context
from allocsim.component.refusals import Refused


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


@register_pass(mutates_CFG=False, analysis_only=False)
class WithoutReferenceCounts(FunctionPass):
    """Methods make no arrays: nothing needs to be counted. (Told before, numba would not have a
    function return an array, as those do that stand for a pool.)"""

    _name = "without_reference_counts"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        """Whether it changed the code: no."""
        state.targetctx.enable_nrt = False
        return False


class _SameFlags(Flags):
    """Flags that are compared as the object that they are, which numba does all the time."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


_flags: dict[Flags, _SameFlags] = {}


def _same(flags: Flags) -> _SameFlags:
    """The one object that stands for all flags equal to these."""
    if flags not in _flags:
        _flags[flags.copy()] = _SameFlags(flags)
    return _flags[flags]


class _Passes(PassManager):
    """Numba's passes, without what it does between them for debuggers and observers."""

    def run(self, state: Any) -> None:
        with ConfigStack().enter(_same(state.flags)):
            for kind, _ in self.passes:
                each = _pass_registry.get(kind).pass_inst
                each.analysis = self._analysis
                each.run_pass(state)


class MethodCompiler(Compiler):
    """Numba's compiler for methods and entry points: what it makes stays intermediate code.

    Methods have no closures, generators, array expressions or functions to be inlined by numba: the
    passes that look for these are left out.
    """

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
        WithoutReferenceCounts,
        typed.PreLowerStripPhis,
        typed.NoPythonSupportedFeatureValidation,
        typed.IRLegalization,
        typed.NativeLowering,
        typed.NoPythonBackend,
    )

    def __init__(self, typing: Any, target: Any, library: Any, *others: Any) -> None:
        super().__init__(typing, target, library, *others)
        self.state.targetctx = Context.of(self.state.targetctx)
        if self.state.library is None:
            self.state.library = MethodLibrary(target.codegen(), "method")

    def define_pipelines(self) -> list[PassManager]:
        """The only pipeline that numba is to try."""
        manager = _Passes("method")
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


METHOD_OPTIONS: Any = {
    "pipeline_class": MethodCompiler,
    "no_cfunc_wrapper": True,
    "no_cpython_wrapper": True,
}
"""How numba is to compile a function that only compiled code calls."""


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


_OPERATORS = frozenset(f for f in vars(operator).values() if callable(f))


@contextmanager
def remembering_operators() -> Iterator[None]:
    """Have numba work out only once what an operator gives for operands of some types: it tries
    dozens of rules, several times for each place where one stands."""
    context = cpu_target.typing_context
    resolve = context.resolve_function_type
    known: dict[tuple, Any] = {}

    def resolve_once(function: Any, arguments: Any, keywords: Any) -> Any:
        if not isinstance(function, types.Function) or function.typing_key not in _OPERATORS:
            return resolve(function, arguments, keywords)
        asked = (function, tuple(arguments))
        if asked not in known:
            known[asked] = resolve(function, arguments, keywords)
        return known[asked]

    context.resolve_function_type = resolve_once
    try:
        yield
    finally:
        vars(context).pop("resolve_function_type", None)  # another thread may have been first
