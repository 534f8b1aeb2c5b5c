"""Machine code of an entry point: all methods that it reaches, linked, optimised once, and emitted
as an object file with one symbol."""

import ctypes
import re
from collections import Counter
from typing import Any

import llvmlite.binding as llvm

from allocsim.component.machine_code import ABOUT, ENTRY, FAILURE
from allocsim.component.method_compiler import MethodLibrary
from allocsim.component.refusals import Refused

_CALL = re.compile(r'call [^@\n]*@"?([^"(]+)"?\(')

# Called with the address of an entry's block of words: its first one is for the result.
_DOOR = """
@"{about_symbol}" = constant [{about_bytes} x i8] c"{about}"
declare i32 @"{inner}"(ptr, ptr, i64)
define i32 @"{symbol}"(ptr %block) {{
  %failure = getelementptr i64, ptr %block, i64 {failure_word}
  %words = ptrtoint ptr %block to i64
  %status = call i32 @"{inner}"(ptr %block, ptr %failure, i64 %words)
  ret i32 %status
}}
"""


def object_code(library: MethodLibrary, inner: str, about: bytes) -> bytes:
    """An object file with the function ENTRY, which calls `inner` of a compiled library, and the
    text ABOUT.

    ENTRY takes the address of a block of words and returns 0, or something else if an exception was
    raised. Raises Refused if it needs anything that only numba has at run time.
    """
    codegen = library._codegen
    door = _DOOR.format(
        about_symbol=ABOUT,
        about_bytes=len(about) + 1,
        about="".join(f"\\{byte:02x}" for byte in about + b"\0"),
        symbol=ENTRY,
        inner=inner,
        failure_word=FAILURE,
    )
    module = llvm.parse_assembly(str(codegen._create_empty_module(ENTRY)))
    module.link_in(llvm.parse_assembly(door))
    calls = Counter([inner])
    for each in reached(library):
        if isinstance(each, MethodLibrary):
            for text in each.texts:
                calls.update(_CALL.findall(text))
                module.link_in(llvm.parse_assembly(text))
        else:
            module.link_in(each._get_module_for_linking(), preserve=True)
    _narrow(module, calls)
    target = _target(codegen)
    passes = llvm.create_pipeline_tuning_options(speed_level=3)
    passes.loop_vectorization = True
    builder = llvm.create_pass_builder(target, passes)
    builder.getModulePassManager().run(module, builder)
    module.verify()
    _require_known(module)
    return target.emit_object(module)


def _target(codegen: Any) -> Any:
    """This processor, for code that may lie anywhere."""
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=codegen._get_host_cpu_name(),
        features=codegen._tm_features,
        opt=3,
        reloc="pic",
        codemodel="small",
    )


def reached(library: Any) -> list[Any]:
    """All libraries that one leads to, each once, that one included."""
    reached: dict[Any, None] = {}
    waiting = [library]
    while waiting:
        library = waiting.pop()
        if library not in reached:
            reached[library] = None
            if isinstance(library, MethodLibrary):
                waiting += library._linking_libraries
    return list(reached)


def _narrow(module: Any, calls: Counter[str]) -> None:
    """Only ENTRY and ABOUT are seen from outside; what is called from one place only is inlined
    there, and what is called from several is not, unless it asks for it."""
    for function in module.functions:
        if function.is_declaration or function.name == ENTRY:
            continue
        function.linkage = "internal"
        inlined = b"alwaysinline" in b" ".join(function.attributes)
        if calls[function.name] > 1 and not inlined:
            function.add_function_attribute("noinline")
    for variable in module.global_variables:
        if not variable.is_declaration and variable.name != ABOUT:
            variable.linkage = "internal"


def _require_known(module: Any) -> None:
    """What is called from outside is there in any Python process: the C and maths libraries."""
    process = ctypes.CDLL(None)
    for each in (*module.functions, *module.global_variables):
        known = each.name.startswith("llvm.") or hasattr(process, each.name)
        if each.is_declaration and not known:
            raise Refused(f"Error: {each.name} is not supported: only numba itself has that")
