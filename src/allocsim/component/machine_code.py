"""Machine code of entry points: what it looks like from outside, and the cache of it on disk.

Every entry point is a file of its own with two symbols: ENTRY, a function of the address of a block
of 64-bit words, and ABOUT, a text that says what it returns and what can go wrong. It is a shared
library, which the host loads in next to no time, or, where there is no C compiler to link one, an
object file, which LLVM loads.
"""

import ctypes
import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from allocsim.cache import publish, scratch_folder, trusted_folder
from allocsim.cbuild import find_compiler
from allocsim.errors import AllocsimError, InputError
from allocsim.sealed import seal, sealed_content

ENTRY, ABOUT = "allocsim_entry", "allocsim_about"

# Where the block has what, in words: FAILURE is a failure's number (see `convention`), with what it
# was raised with behind it; an argument has two words: a number, or an array's address and length.
MOST_NUMBERS = 4  # that an exception is raised with
RESULT, FAILURE = 0, 1
RECORD = FAILURE + 1 + MOST_NUMBERS
ARGUMENTS = RECORD + 1

NUMBER = "n"
"""The kind of an argument that is an integer; of an array it is the type of its elements (i8)."""

FOLDER = "compiled"
"""The cache's folder of machine code."""


class NotCompilable(AllocsimError):
    """A component tree that numba refuses; the message names method, line and reason."""


class MachineCode:
    """An entry point in this process. function: takes a block's address, and returns 0 unless an
    exception was raised; result: the type of what it returns, "" for nothing; failures: what can go
    wrong in it, by number (see `allocsim.component.convention`)."""

    def __init__(self, function_address: int, about_address: int, owner: Any) -> None:
        about = json.loads(ctypes.string_at(about_address))
        self.result: str = about["result"]
        self.failures: list[dict[str, Any]] = about["failures"]
        self.function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64)(function_address)
        self._owner = owner  # without which the code would go


def is_kept(pattern: str) -> bool:
    """Whether the cache has code of a name like that."""
    folder = trusted_folder(FOLDER)
    return folder is not None and any(
        any(folder.glob(f"{pattern}{suffix}")) for suffix in (".so", ".o")
    )


def kept(name: str) -> MachineCode | None:
    """The code of that name in the cache, if it is there and valid."""
    if (folder := trusted_folder(FOLDER)) is None:
        return None
    for suffix in (".so", ".o"):
        path = folder / f"{name}{suffix}"
        if (code := sealed_content(path)) is not None:
            with suppress(OSError):  # a file system from which nothing can be run
                return from_object(code) if suffix == ".o" else _from_library(path)
    return None


def keep(name: str, code: bytes) -> MachineCode:
    """Load an object file and keep it for later runs; where that is not possible, this run goes on
    without."""
    with suppress(OSError, InputError), scratch_folder(FOLDER) as scratch:
        file, library = (scratch / f"{name}{suffix}" for suffix in (".o", ".so"))
        file.write_bytes(code)
        if (loaded := _linked(file, library)) is not None:
            publish(library, scratch.parent / library.name)
            return loaded
        seal(file)
        publish(file, scratch.parent / file.name)
    return from_object(code)


def _linked(object_file: Path, library: Path) -> MachineCode | None:
    """A sealed shared library of an object file, where a compiler can make it and the host loads
    it."""
    try:
        command = [*find_compiler(), "-shared", "-o", str(library), str(object_file)]
        subprocess.run(command, check=True, capture_output=True)
        seal(library)
        return _from_library(library)
    except (InputError, subprocess.CalledProcessError, OSError):
        return None


def _from_library(path: Path) -> MachineCode:
    library = ctypes.CDLL(str(path))
    entry, about = (ctypes.addressof(ctypes.c_char.in_dll(library, s)) for s in (ENTRY, ABOUT))
    return MachineCode(entry, about, library)


def from_object(code: bytes) -> MachineCode:
    """An object file, loaded into this process."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    machine = target.create_target_machine(codemodel="jitdefault", jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    entry, about = engine.get_function_address(ENTRY), engine.get_global_value_address(ABOUT)
    return MachineCode(entry, about, engine)
