"""The contract that a policy author meets: one class with `malloc` and `free`.

A policy sees the machine only through `self.kernel`. Whatever grows with the heap belongs into
simulated memory (`kernel.load`, `kernel.store`); a component's own state is for what is constant in
size. Methods are plain Python in the subset that numba compiles; outside it they still run, only
slower.
"""

import hashlib
import importlib
import importlib.util
import inspect
import itertools
import sys
from enum import IntEnum
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from allocsim import resources
from allocsim.component import Component, Part, Pool, host, variant
from allocsim.component.source import guard_loops
from allocsim.errors import InputError, SimulationError, printable, suggestion
from allocsim.input_files import check_input, read_bytes
from allocsim.kernel import Kernel
from allocsim.policy_contract import require_contract


class Kind(IntEnum):
    """What a range of the heap is, in `walk()`."""

    FREE = 0
    USED = 1
    METADATA = 2
    TOP = 3  # free memory at the growing end of a heap: no hole, for nothing live lies beyond it


USED, METADATA = int(Kind.USED), int(Kind.METADATA)
REPLACES = 0x80  # beside the kind of a range: it counts instead of an earlier one at its address


class Ranges(Component):
    """What `walk()` reports: ranges of the heap by address, size in bytes and kind.

    With `summing`, what is used and metadata is only summed, by kind, and nothing but free ranges
    is listed: a heap has few of them beside its blocks. Without it, all ranges are listed, replaced
    ones too; `listed()` gives those that count.
    """

    address = Pool("i8", 1 << 28)
    size_bytes = Pool("i8", 1 << 28)
    kind = Pool("u1", 1 << 28)
    n = 0
    summing = 0
    used_bytes = 0
    metadata_bytes = 0

    def start(self):
        """Forget what was reported."""
        self.n = 0
        self.used_bytes = 0
        self.metadata_bytes = 0

    def add(self, address, size_bytes, kind):
        """Report one range; no byte belongs to two."""
        if self.summing and kind == USED:
            self.used_bytes += size_bytes
        elif self.summing and kind == METADATA:
            self.metadata_bytes += size_bytes
        elif size_bytes > 0:
            self.address[self.n] = address
            self.size_bytes[self.n] = size_bytes
            self.kind[self.n] = kind
            self.n += 1

    def replace(self, address, size_bytes, kind, before):
        """Report a range again that was reported as of kind `before`: this one counts."""
        if self.summing == 0:
            kind |= REPLACES
        elif before == USED:
            self.used_bytes -= size_bytes
        elif before == METADATA:
            self.metadata_bytes -= size_bytes
        self.add(address, size_bytes, kind)

    @host
    def listed(self):
        """The ranges that count, as (address, size in bytes, kind), in order of their addresses."""
        at: dict[int, list[tuple[int, int, int]]] = {}
        for i in range(self.n):
            address, kind = self.address[i], self.kind[i]
            if kind & REPLACES:
                at[address] = []
            found = (address, self.size_bytes[i], kind & ~REPLACES)
            at.setdefault(address, []).append(found)
        return sorted(found for several in at.values() for found in several)


class Policy(Component):
    """Base of all policies.

    `malloc(size)` returns an address aligned to 16 bytes, or 0 when memory is exhausted;
    `free(address)` takes it back. Everything else has a default. `self.thread` is the calling
    thread's number. Sizes and addresses are in bytes.
    """

    kernel = Part(Kernel)
    ranges = Part(Ranges)
    thread = 0

    def malloc(self, size):
        raise NotImplementedError("a policy defines malloc(self, size)")

    def free(self, address):
        raise NotImplementedError("a policy defines free(self, address)")

    def usable_size(self, address):
        """How many bytes the program may use at `address`. Needed by the default realloc."""
        if address != 0:  # a condition, so that the type of the result is known when compiled
            raise SimulationError(
                "the policy needs usable_size(self, address) for realloc of", address
            )
        return 0

    def calloc(self, size):
        """A block of `size` bytes, all zero."""
        address = self.malloc(size)
        if address != 0:
            self.kernel.zero(address, size)
        return address

    def realloc(self, address, size):
        """Resize a block, moving it if it does not fit where it is."""
        usable = self.usable_size(address)
        if size <= usable:
            return address
        target = self.malloc(size)
        if target != 0:
            self.kernel.copy(target, address, usable)
            self.free(address)
        return target

    def aligned_alloc(self, alignment, size):
        """A block at a multiple of `alignment` (a power of two).

        The default serves alignments up to 16 only, and returns 0 for larger ones.
        """
        if alignment > 16:
            return 0
        return self.malloc(size)

    def private_malloc(self, size):
        """The block that `malloc(size)` would give without touching anything that threads share.

        0 if it would touch such things, or nobody knows. Threads that meet in simulated time run
        such calls ahead of other threads. It must change nothing; a block's own memory and what
        the calling thread has for itself are not shared.
        """
        return 0

    def private_free(self, address):
        """Whether `free(address)` would touch nothing that threads share; as `private_malloc`."""
        return False

    def start_threads(self, n, with_stacks=1):
        """The program creates n threads (more than one), before the first operation.

        `with_stacks` 0: their stacks are in the address space already.
        """

    def thread_exit(self):
        """The calling thread ends."""

    def expect_free(self, address):
        """The block at `address` will probably be freed within a few operations.

        A policy may have the host fetch the words that it will need (`kernel.expect`), which makes
        simulation faster; it must change nothing. The word before the block is on its way already.
        """

    def walk(self):
        """Report every range of the heap through `self.ranges.add(address, size_bytes, kind)`."""


def with_kernel(
    policy: type[Policy], kernel: type[Kernel], **parameters: int | float
) -> type[Policy]:
    """`policy` on another kernel: `with_kernel(FirstFit, SwappingKernel, memory_pages=1000)`.

    parameters: the kernel's own.
    """
    name = f"{policy.__name__}On{kernel.__name__}"
    return variant(policy, name, kernel=Part(kernel, parameters))  # type: ignore[return-value]


_SESSION = "session:"
_OF_FILE = "allocsim_policy_"
"""How the names of modules begin that were imported from policies' files."""

BUILT_IN = {
    "glibc": "allocsim.glibc:Glibc",
    "mmap_only": "allocsim.glibc:MmapOnly",
    "brk_only": "allocsim.glibc:BrkOnly",
}


_of_this_process: dict[str, type[Policy]] = {}


def name_of_class(policy: type[Policy]) -> str:
    """A text from which `load_policy` finds a class again, in this process only if need be.

    Classes of `__main__` and of interactive sessions are code that another process would have to
    run as a whole to get at them: they are known in this process, as "session:NAME".
    """
    if name := _built_in_name(policy):
        return name
    file = getattr(sys.modules.get(policy.__module__), "__file__", None)
    if policy.__module__ != "__main__" and file and "." not in policy.__qualname__:
        return f"{file}:{policy.__qualname__}"
    require_contract(policy, Policy)
    name = f"{_SESSION}{policy.__qualname__}"
    names = itertools.chain([name], (f"{name}#{number}" for number in itertools.count(2)))
    return next(each for each in names if _of_this_process.setdefault(each, policy) is policy)


def _built_in_name(policy: type[Component]) -> str:
    """The name in BUILT_IN of a class; empty for others."""
    for name, place in BUILT_IN.items():
        module, _, cls = place.partition(":")
        if getattr(sys.modules.get(module), cls, None) is policy:
            return name
    return ""


def shown_name(policy: type[Component]) -> str:
    """What tables and messages call a class: its name as a shipped policy, or its file's name.

    A class beside others in a file, and one of a Python program, goes by its own name.
    """
    if name := _built_in_name(policy):
        return name
    module = sys.modules.get(policy.__module__)
    if module is None or not module.__name__.startswith(_OF_FILE):
        return policy.__name__
    policies = [cls for cls in _components_of(module) if issubclass(cls, Policy)]
    return Path(str(module.__file__)).stem if policies == [policy] else policy.__name__


def is_of_this_process(name: str) -> bool:
    """Whether `load_policy` finds that name in this process only."""
    return name.startswith(_SESSION)


def policy_names() -> list[str]:
    """All policies that are known by name: the glibc family and the shipped single files."""
    return sorted([*BUILT_IN, *resources.names("policies", ".py")])


def load_policy(name: str) -> type[Policy]:
    """The policy class called `name`, or in the file `name` ("PATH.py" or "PATH.py:Class").

    A policy file runs as code, with the rights of the user. InputError when there is none.
    """
    if name in _of_this_process:
        return _of_this_process[name]
    if name in BUILT_IN:
        module, _, cls = BUILT_IN[name].partition(":")
        return getattr(importlib.import_module(module), cls)
    path, class_name = policy_file(name), name.partition(":")[2]
    imported = _import(path)
    policy = _class_in(imported, path, class_name)
    try:
        require_contract(policy, Policy)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return policy


def is_shipped(name: str) -> bool:
    """Whether a policy is one of allocsim's own; every other one is a file that runs as code."""
    return name in _of_this_process or name.partition(":")[0] in policy_names()


def policy_file(name: str) -> Path:
    """The file of a policy that is not built in; nothing is imported. InputError if none."""
    path_text = name.partition(":")[0]
    if path_text.endswith(".py"):
        path: Path | None = Path(path_text)
    else:
        path = resources.find("policies", path_text, ".py")
    if path is None:
        raise InputError(_unknown(name))
    check_input(path)
    return path


def refusal_of_file(name: str, no_code: bool) -> str | None:
    """Why a policy that is none of allocsim's own cannot be imported; None if it can be tried.

    no_code: the user wants to run no code from files.
    """
    try:
        path = policy_file(name)
    except InputError as error:
        return str(error)
    refused = f"{printable(path)} would run as code, which --no-code refuses; use a shipped policy"
    return refused if no_code else None


def _unknown(name: str) -> str:
    hint = suggestion(name, policy_names())
    return (
        f"unknown policy {name!r}; {hint} (a policy of your own is given by its path, my_policy.py)"
    )


def _import(path: Path) -> ModuleType:
    """Import a policy's file under a name of its own; InputError for a mistake inside."""
    # Cached machine code names the module, and is shared by all copies of the same file.
    digest = hashlib.sha256(read_bytes(path)).hexdigest()[:16]
    name = f"{_OF_FILE}{path.stem}_{digest}"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(path):
        return loaded  # with the same classes, to which compiled code and idle drivers belong
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        line = f":{error.lineno}" if error.lineno else ""
        raise InputError(f"{path}{line}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}{_line_in(path, error)}: cannot be imported: {said}") from error
    for component in _components_of(module):
        guard_loops(component)
    return module


def _line_in(path: Path, error: BaseException) -> str:
    """Where in the file the error came up, as ":line"; empty if elsewhere."""
    spelled = str(path.absolute())
    frames = extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == spelled]
    return f":{lines[-1]}" if lines else ""


def _components_of(module: ModuleType) -> list[type[Component]]:
    """The components that a module itself defines."""
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Component)
        and value.__module__ == module.__name__
    ]


def _class_in(module: ModuleType, path: Path, class_name: str) -> type[Policy]:
    classes = {c.__name__: c for c in _components_of(module) if issubclass(c, Policy)}
    if class_name:
        if class_name not in classes:
            found = ", ".join(classes) or "none"
            raise InputError(f"{path}: no policy class {class_name!r}; it has {found}")
        return classes[class_name]
    if not classes:
        raise InputError(f"{path}: no class in it is derived from allocsim.Policy")
    if len(classes) > 1:
        raise InputError(
            f"{path}: it has several policies, {', '.join(classes)}; name one as {path}:Class"
        )
    return next(iter(classes.values()))
