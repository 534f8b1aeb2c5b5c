"""Runs a trace on the real C library: `replay` reports each op, `time_replay` only the time."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Literal, Unpack, cast

import numpy as np

from allocsim.errors import AllocsimError, InputError
from allocsim.ground_truth.opstream import Marks, OpStream, packed, write_ops
from allocsim.ground_truth.results import GroundTruth, read_ground_truth, read_summary
from allocsim.ground_truth.start import Surroundings, Tunables, build_replayer, environment_of
from allocsim.trace import TraceSource

Writes = Literal["written", "none", "fill"]
"""What the program does to a block that it got: write a byte in each page of the trace's `written`
bytes, which is what the op's faults depend on; nothing; or write each of those bytes."""

_NOT_PERMITTED = 3


class ReplayError(AllocsimError):
    """The replayer failed, or the C library stopped it: the message says at which op and why."""


class ReplayNotPermitted(ReplayError):
    """The system forbids what a faithful replay needs: a seccomp filter, or fixed addresses."""


@dataclass(frozen=True)
class ThreadTime:
    """What one thread of a freely running replay took, from the common start to its last op.

    waiting_ns: the part of cpu_ns in which it waited for earlier ops on an object, by spinning.
    """

    wall_ns: int
    cpu_ns: int
    waiting_ns: int


@dataclass(frozen=True)
class Timing:
    """What replaying a trace took, from the first op to the last, reading of the ops left out.

    cpu_ns: processor time of user and kernel together, whose split Linux only estimates.
    threads: of each thread, where they ran freely; else empty.
    """

    ops: int
    cpu_ns: int
    wall_ns: int
    minor_faults: int
    major_faults: int
    threads: tuple[ThreadTime, ...] = ()

    @property
    def working_ns(self) -> int:
        """cpu_ns without what threads spent on waiting for each other."""
        return self.cpu_ns - sum(thread.waiting_ns for thread in self.threads)


def replay(
    source: TraceSource | OpStream,
    tunables: Tunables = None,
    *,
    writes: Writes = "written",
    syscalls: bool = True,
    samples: int = 0,
    **surroundings: Unpack[Surroundings],
) -> GroundTruth:
    """Make the calls of `source` for real and report what each did.

    Threads run in lock-step, one op at a time in the order of the trace; a trace with several has
    them all created before the first op, by a main thread that runs none. `syscalls` also reports
    the allocator's own system calls; `samples` is how often the program's resident memory is noted,
    at equal distances in ops, whose number must be known. Raises ReplayError, InputError.
    """
    mode = "ops+syscalls" if syscalls else "ops"
    with _results(source, tunables, mode, writes, surroundings, samples) as folder:
        return read_ground_truth(folder)


def time_replay(
    source: TraceSource | OpStream,
    tunables: Tunables = None,
    *,
    writes: Writes = "written",
    null: bool = False,
    free_threads: bool = False,
    **surroundings: Unpack[Surroundings],
) -> Timing:
    """Make the calls of `source` for real, with nothing observed but the time of the whole.

    `null` leaves the calls and writes out: what the replayer's loop itself takes, to be subtracted.
    `free_threads` lets each thread make its ops as fast as it can, after the earlier ops on the
    same object; all ops are held in memory then, 36 bytes each. Otherwise threads take turns, and
    the time to hand over is part of the result. To time one trace several times, make it `packed`
    first. Raises ReplayError, InputError.
    """
    mode = ("null" if null else "time") + ("-free" if free_threads else "")
    with ExitStack() as stack:
        ops = source if isinstance(source, OpStream) else stack.enter_context(packed(source))
        folder = stack.enter_context(_results(ops, tunables, mode, writes, surroundings))
        return _read_timing(folder)


def _read_timing(folder: Path) -> Timing:
    summary, threads = read_summary(folder), folder / "threads"
    names = ("ops", "cpu_ns", "wall_ns", "minor_faults", "major_faults")
    times = np.fromfile(threads, np.int64).reshape(-1, 3).tolist() if threads.exists() else []
    return Timing(
        **{name: int(summary[name]) for name in names},
        threads=tuple(ThreadTime(*time) for time in times),
    )


@contextmanager
def _results(
    source: TraceSource | OpStream,
    tunables: Tunables,
    mode: str,
    writes: Writes,
    surroundings: Surroundings,
    samples: int = 0,
) -> Iterator[Path]:
    """A temporary folder with the results of one run of the replayer."""
    environment = environment_of(tunables, surroundings.get("environment"))
    with TemporaryDirectory(prefix="allocsim-") as folder:
        command = replayer_command(source, mode, writes, surroundings, folder, samples)
        messages = Path(folder) / "messages"
        _run(command, environment, source, messages, surroundings.get("marks"))
        yield Path(folder)


def replayer_command(
    source: TraceSource | OpStream,
    mode: str,
    writes: Writes,
    around: Surroundings,
    folder: str,
    samples: int = 0,
) -> list[str]:
    """The replayer with its arguments; it is built if need be. Raises InputError."""
    program = around.get("program") or build_replayer(around.get("libc"))
    huge_pages, cpus = around.get("huge_pages", "system"), around.get("cpus") or 0
    sizes = [str(max(source.n_slots, 1)), str(source.n_threads)]
    if samples and source.n_ops is None:
        raise InputError("samples need a workload whose number of operations is known")
    schedule = [str(min(samples, source.n_ops or 0)), str(source.n_ops or 0)]
    return [str(program), mode, writes, huge_pages, str(cpus), *sizes, *schedule, folder]


def _run(
    command: list[str],
    environment: dict[str, str],
    source: TraceSource | OpStream,
    messages: Path,
    marks: Marks | None,
) -> None:
    """Run the replayer to its end; what it prints goes to the file `messages`."""
    with messages.open("wb") as errors:
        if isinstance(source, OpStream):
            with source.path.open("rb") as ops:
                ended = subprocess.run(command, env=environment, stdin=ops, stderr=errors)
            status = ended.returncode
        else:
            status = _run_fed(command, environment, source, errors, marks)
    if status != 0:
        _raise_failure(status, messages.read_text(errors="replace").strip())


def _run_fed(
    command: list[str],
    environment: dict[str, str],
    source: TraceSource,
    errors: BinaryIO,
    marks: Marks | None,
) -> int:
    """Run the replayer while feeding it the ops; its exit status."""
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=errors)
    with process:
        try:
            # A replayer that stops reading has died, which its status tells.
            with suppress(BrokenPipeError), cast(BinaryIO, process.stdin) as pipe:
                write_ops(source, pipe, marks)
        except BaseException:
            process.kill()
            raise
    return process.returncode


def _raise_failure(status: int, messages: str) -> None:
    kind = ReplayNotPermitted if status == _NOT_PERMITTED else ReplayError
    raise kind(messages or f"the replayer ended with status {status}")
