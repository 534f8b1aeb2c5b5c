"""Compiles what runs need, in processes of their own: before the runs, or beside the first ones.

A run that started interpreted goes on compiled as soon as its code is in the cache.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from allocsim.driver import Driver
from allocsim.engine import COMPILE_FROM_OPS, compile_all, entry_points, is_warm
from allocsim.machine import Machine
from allocsim.policy import load_policy
from allocsim.runspec import RunSpec, short_policy_name

CHILD = """\
import json, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.path[:] = json.loads(sys.argv[1])
from allocsim.compile_ahead import compile_in_child
compile_in_child(sys.argv[2])
"""


@dataclass(frozen=True)
class Code:
    """The compiled code that some runs share.

    policy: as text, for another process to load. threaded: threads meet in simulated time.
    """

    policy: str
    machine: Machine
    threaded: bool = False

    @classmethod
    def of(cls, policy: str, machine: Machine, threaded: bool) -> "Code":
        """The code for that machine, of which only the kind of kernel counts."""
        memory = None if machine.memory_bytes is None else 1 << 30
        kernel = Machine(huge_pages=machine.huge_pages, memory_bytes=memory)
        return cls(policy, kernel, threaded)

    def driver_class(self) -> type[Driver]:
        """The class whose code it is."""
        return self.machine.driver_class(load_policy(self.policy), self.threaded)

    def points(self) -> dict[str, tuple]:
        """The entry points, with arguments of their types."""
        return entry_points(self.threaded, self.machine.has_huge_pages)

    def is_cached(self) -> bool:
        """Whether all of it is in the cache."""
        return is_warm(self.driver_class(), self.points())

    def __str__(self) -> str:
        parts = [short_policy_name(self.policy)]
        parts += ["with huge pages"] if self.machine.has_huge_pages else []
        parts += ["with limited memory"] if self.machine.memory_bytes else []
        parts += ["for threads that meet"] if self.threaded else []
        return " ".join(parts)


@dataclass(frozen=True)
class Compiled:
    """What became of some code. seconds: of processor time; refused: why it does not compile."""

    code: Code
    seconds: float = 0.0
    was_cached: bool = False
    refused: str = ""

    def __str__(self) -> str:
        if self.refused:
            return f"{self.code}: runs interpreted: {self.refused}"
        if self.was_cached:
            return f"{self.code}: compiled already"
        return f"{self.code}: compiled in {self.seconds:.1f} s"


def compile_code(code: Code) -> Compiled:
    """Compile all entry points of some code, unless the cache has them."""
    from allocsim.component.entry import NotCompilable

    if code.is_cached():
        return Compiled(code, was_cached=True)
    started = time.process_time()
    try:
        compile_all(code.driver_class(), code.points())
    except NotCompilable as error:
        return Compiled(code, refused=str(error))
    return Compiled(code, time.process_time() - started)


def distinct(codes: Iterable[Code]) -> list[Code]:
    """The codes without those that another one covers, such as glibc with other defaults."""
    by_class: dict[tuple[type, bool], Code] = {}
    for code in dict.fromkeys(codes):
        by_class.setdefault((code.driver_class(), code.threaded), code)
    return list(by_class.values())


def codes_that_pay(specs: Iterable[tuple[RunSpec, int, bool]]) -> list[Code]:
    """The code that is not cached, and whose runs together are long enough to compile it for.

    specs: each run with its number of ops and whether its threads meet.
    """
    n_ops: dict[Code, int] = {}
    for spec, ops, threaded in specs:
        if isinstance(spec.policy, str) and not spec.referee:
            code = Code.of(spec.policy, spec.machine, threaded)
            n_ops[code] = n_ops.get(code, 0) + ops
    totals: dict[type, int] = {}
    for code, ops in n_ops.items():
        cls = code.driver_class()
        totals[cls] = totals.get(cls, 0) + ops
    return [
        code
        for code in distinct(n_ops)
        if totals[code.driver_class()] >= COMPILE_FROM_OPS and not code.is_cached()
    ]


class CompileAhead:
    """Processes that compile code, at most `jobs` at the same time; close it to end them.

    Each is a new interpreter: forking a process with threads may hang.
    """

    def __init__(self, codes: Iterable[Code], jobs: int) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        self._closed = False
        self._threads = ThreadPoolExecutor(max(1, jobs))
        self._futures = [self._threads.submit(self._compile, code) for code in codes]

    def results(self) -> Iterator[Compiled]:
        """What became of each code, in the order in which they end."""
        for future in as_completed(self._futures):
            yield future.result()

    def close(self) -> None:
        """End what is still being compiled."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()
        self._threads.shutdown(wait=True)

    def _compile(self, code: Code) -> Compiled:
        if self._closed:
            return Compiled(code, refused="interrupted")
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, json.dumps(sys.path), as_text(code)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        if self._closed:  # since it was looked at: `close` may not have seen the process
            process.kill()
        answer, complaints = process.communicate()
        if process.returncode or not answer:
            reason = complaints.strip().splitlines()[-1:] or ["its process was ended"]
            return Compiled(code, refused=reason[0])
        return Compiled(code, **json.loads(answer))


def as_text(code: Code) -> str:
    """The code as JSON: of the machine, what decides on the kernel's class."""
    kernel = {"huge_pages": code.machine.huge_pages, "memory_bytes": code.machine.memory_bytes}
    return json.dumps({"policy": code.policy, "machine": kernel, "threaded": code.threaded})


def compile_in_child(text: str) -> None:
    """What a child process does: compile the code of that text, and print what became of it."""
    given = json.loads(text)
    code = Code(given["policy"], Machine(**given["machine"]), given["threaded"])
    found = compile_code(code)
    answer = {name: getattr(found, name) for name in ("seconds", "was_cached", "refused")}
    print(json.dumps(answer))
