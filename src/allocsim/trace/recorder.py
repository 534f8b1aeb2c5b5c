"""Records the memory calls of a real program and of its children, each into a trace of its own.

The program runs with a preloaded library (`recorder.c`) that logs every call into files beside the
output; when the program has ended, the logs become traces.
"""

import contextlib
import ctypes
import os
import platform
import re
import resource
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from allocsim.cbuild import build
from allocsim.errors import InputError
from allocsim.trace.atomic import AtomicFile
from allocsim.trace.provenance import Provenance
from allocsim.trace.recorder_convert import Converter
from allocsim.trace.recorder_log import Process, read_processes
from allocsim.trace.recorder_program import check_recordable, find_program
from allocsim.trace.writer import TraceWriter

SOURCE = Path(__file__).parent / "recorder.c"
FLAGS = ("-fvisibility=hidden", "-fno-builtin-malloc", "-fno-builtin-calloc", "-lpthread", "-ldl")
FOLDER_VARIABLE = "ALLOCSIM_RECORD_FOLDER"
LONGEST_FOLDER = 900
CHILDREN_SHOWN = 10

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
_IGNORED = (signal.SIGINT, signal.SIGQUIT)  # the terminal sends them to the program as well
_CALIBRATION_NS = 20_000_000


@dataclass(frozen=True)
class Recorded:
    """One trace that was written, and what of the process's peak resident memory it explains."""

    path: Path
    program: str
    n_ops: int
    n_threads: int
    explained: str
    is_complete: bool


@dataclass(frozen=True)
class Recording:
    """A finished recording: the exit code, 128 + n if signal n ended the program, and the traces,
    the program's own first. `n_idle` children made no call."""

    exit_code: int
    traces: tuple[Recorded, ...]
    n_idle: int

    def summary(self) -> str:
        """What was recorded, for people: the program's own trace, then the largest others."""
        own, *others = self.traces
        others.sort(key=lambda trace: -trace.n_ops)
        lines = [_describe(trace) for trace in (own, *others[:CHILDREN_SHOWN])]
        if hidden := others[CHILDREN_SHOWN:]:
            n_ops = sum(trace.n_ops for trace in hidden)
            lines.append(f"{len(hidden)} more traces of other processes, {n_ops:,} ops together")
        if self.n_idle:
            lines.append(f"{self.n_idle} more processes made no memory call that could be seen")
        return "\n".join(lines)


def record(command: Sequence[str], output: Path) -> Recording:
    """Run `command`, a program and its arguments, and write its trace to `output`.

    Each child process, and each program that a process ran before it called exec, gets a trace
    beside it: for `t.parquet`, `t.1-sh.parquet`, numbered by their start. Raises InputError when
    the program cannot be found or preloaded into, without a compiler, and when nothing was seen.
    """
    program = find_program(command[0])
    check_recordable(program)
    AtomicFile(output)  # refuses what is no place for a file, before the program runs
    library = build(SOURCE, shared=True, flags=FLAGS)
    with _folder_beside(output) as folder:
        clock = _Clock(library)
        pid, status, usage = _run(program, command, _environment(library, folder))
        ticks_per_ns = clock.ticks_per_ns()
        return _convert(folder, output, pid, status, usage, ticks_per_ns)


@contextlib.contextmanager
def _folder_beside(output: Path) -> Iterator[Path]:
    """A folder for the logs on the output's file system, gone afterwards."""
    parent = output.absolute().parent
    try:
        # Children that outlive the program may still write there while it is removed.
        folder = tempfile.TemporaryDirectory(
            prefix=f".{output.name}.", dir=parent, ignore_cleanup_errors=True
        )
    except OSError as error:
        raise InputError(f"{output}: cannot write there: {error.strerror}") from error
    with folder as name:
        if len(os.fsencode(name)) > LONGEST_FOLDER:
            raise InputError(f"{output}: the path is too long; at most {LONGEST_FOLDER} bytes")
        yield Path(name)


class _Clock:
    """Compares the recorder's clock, which counts processor ticks, with the system's."""

    def __init__(self, library: Path) -> None:
        self._read = ctypes.CDLL(str(library)).allocsim_recorder_ticks
        self._read.restype = ctypes.c_uint64
        self._start = self._now()

    def _now(self) -> tuple[int, int]:
        return self._read(), time.monotonic_ns()

    def ticks_per_ns(self) -> float:
        """Measured since the start; waits if that was just now."""
        ticks, nanoseconds = self._now()
        if nanoseconds - self._start[1] < _CALIBRATION_NS:
            time.sleep(_CALIBRATION_NS / 1e9)
            ticks, nanoseconds = self._now()
        return (ticks - self._start[0]) / (nanoseconds - self._start[1])


def _environment(library: Path, folder: Path) -> dict[str, str]:
    if re.search(r"[\s:]", str(library)):
        raise InputError(
            f"{library}: the loader takes no path with blanks or colons; "
            "set ALLOCSIM_CACHE to a folder without them"
        )
    others = os.environ.get("LD_PRELOAD")
    preload = f"{library}:{others}" if others else str(library)
    return {**os.environ, "LD_PRELOAD": preload, FOLDER_VARIABLE: str(folder)}


def _run(
    program: Path, command: Sequence[str], environment: dict[str, str]
) -> tuple[int, int, resource.struct_rusage]:
    """Run to the end; returns the process's number, its wait status and its resource usage."""
    ignored_by_python = [signal.SIGPIPE, signal.SIGXFSZ]
    try:
        pid = os.posix_spawn(program, list(command), environment, setsigdef=ignored_by_python)
    except OSError as error:
        raise InputError(f"{program}: cannot be run: {error.strerror}") from error
    with _signals_passed_on(pid):
        _, status, usage = os.wait4(pid, 0)
    return pid, status, usage


@contextlib.contextmanager
def _signals_passed_on(pid: int) -> Iterator[None]:
    """While the program runs, signals are its own matter."""

    def pass_on(number: int, _: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    before = {n: signal.signal(n, pass_on) for n in _PASSED_ON}
    before |= {n: signal.signal(n, signal.SIG_IGN) for n in _IGNORED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _convert(
    folder: Path,
    output: Path,
    pid: int,
    status: int,
    usage: resource.struct_rusage,
    ticks_per_ns: float,
) -> Recording:
    processes = read_processes(folder)
    own = [process for process in processes if process.pid == pid]
    if not own:
        raise InputError(
            f"{output}: nothing was recorded: the program took no preloaded library in "
            "(setuid programs refuse), or cleared LD_PRELOAD, or the disk is full"
        )
    main = own[-1]  # what the process became, if it called exec
    recorded, n_idle = [_write(main, output, usage, ticks_per_ns)], 0
    for process in processes:
        if process is not main:
            path = _path_of_child(output, len(recorded), process)
            trace = _write(process, path, None, ticks_per_ns)
            recorded += [trace] if trace.n_ops else []
            n_idle += not trace.n_ops
    exit_code = os.waitstatus_to_exitcode(status)
    return Recording(exit_code if exit_code >= 0 else 128 - exit_code, tuple(recorded), n_idle)


def _path_of_child(output: Path, number: int, process: Process) -> Path:
    name = re.sub(r"[^\w.+-]", "_", Path(process.program).name) or "unknown"
    return output.with_name(f"{output.stem}.{number}-{name}{output.suffix}")


def _write(
    process: Process, path: Path, usage: resource.struct_rusage | None, ticks_per_ns: float
) -> Recorded:
    """Write the trace of one process; a child's trace without ops is not kept."""
    converter = Converter(process, ticks_per_ns)
    with TraceWriter(path) as writer:
        for batch in converter.batches():
            writer.append(batch)
        writer.provenance = _provenance(process, converter, usage)
    if not writer.n_ops and usage is None:
        path.unlink()
    explained = _explained(writer.provenance.extras)
    program = Path(process.program).name
    complete = process.stopped is None
    return Recorded(path, program, writer.n_ops, writer.n_threads, explained, complete)


def _provenance(
    process: Process, converter: Converter, usage: resource.struct_rusage | None
) -> Provenance:
    return Provenance(
        program=process.program,
        arguments=process.arguments[1:],
        machine=_machine(),
        c_library=" ".join(platform.libc_ver()),
        recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        written_source="estimated",
        notes=_notes(process, converter),
        extras=_figures(process, converter, usage),
    )


def _machine() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    processor = found[1] if found else platform.machine()
    return f"{processor}, {platform.system()} {platform.release()}"


def _notes(process: Process, converter: Converter) -> str:
    notes = [
        "written: of blocks of 16 KiB or more, the bytes in resident pages when the block was "
        "freed or the program ended; all of smaller ones",
        "touches of mappings: their resident bytes at the end, as if written from the start",
    ]
    if converter.survey.n_assumed:
        notes.append(
            f"{converter.survey.n_assumed} big blocks lived when the program was killed or "
            "replaced by exec: taken as written in full"
        )
    if process.allocator_is_foreign:
        notes.append("the program's allocator is not the C library's")
    if process.stopped is not None:
        notes.append("the recording stopped early: the disk was full or files could not be opened")
    return "; ".join(notes)


def _figures(
    process: Process, converter: Converter, usage: resource.struct_rusage | None
) -> dict[str, Any]:
    """What the program itself needed, as far as it is known, and what the trace explains of it."""
    totals = converter.totals
    figures: dict[str, Any] = {
        "explained_peak_bytes": totals.explained_peak_bytes,
        "unseen_allocations": totals.unseen_allocations,
        "unseen_frees": totals.unseen_frees,
        "file_and_shared_mappings": process.other_mappings,
    }
    if process.has_ended:
        figures["peak_rss_bytes"] = process.peak_kib * 1024
        figures["file_rss_bytes"] = process.file_kib * 1024
        figures["minor_faults"] = process.minor_faults - process.faults_before
        figures["major_faults"] = process.major_faults
        figures["cpu_ns"] = process.cpu_ns
    elif usage is not None:
        figures |= _figures_of_killed(process, usage)
    if peak := figures.get("peak_rss_bytes"):
        figures["explained_share_of_peak_rss"] = round(totals.explained_peak_bytes / peak, 4)
    return figures


def _figures_of_killed(process: Process, usage: resource.struct_rusage) -> dict[str, Any]:
    """From the parent's view; the kernel's peak starts at that of the process's former program,
    so it tells nothing unless it grew."""
    figures: dict[str, Any] = {
        "minor_faults": usage.ru_minflt - process.faults_before,
        "major_faults": usage.ru_majflt,
        "cpu_ns": int((usage.ru_utime + usage.ru_stime) * 1e9),
    }
    if usage.ru_maxrss > process.start_peak_kib:
        figures["peak_rss_bytes"] = usage.ru_maxrss * 1024
    return figures


def _explained(figures: dict[str, Any]) -> str:
    """The share of peak resident memory that the trace accounts for at its own peak."""
    peak = figures.get("peak_rss_bytes")
    if not peak:
        return "peak RSS unknown"
    share = figures["explained_share_of_peak_rss"]
    text = f"explains {share:.0%} of the peak RSS of {peak / 1e6:.1f} MB"
    if files := figures.get("file_rss_bytes"):
        text += f" ({files / peak:.0%} is code and other files)"
    return text


def _describe(trace: Recorded) -> str:
    ops = f"{trace.n_ops:,} op{'s' * (trace.n_ops != 1)}"
    threads = f"{trace.n_threads} thread{'s' * (trace.n_threads != 1)}"
    cut = "" if trace.is_complete else "; INCOMPLETE: the disk was full or no file could be opened"
    return f"{trace.path}: {trace.program}, {ops}, {threads}, {trace.explained}{cut}"
