"""What a recording leaves: the logs of its processes become traces, as soon as there is room."""

import platform
import re
import shlex
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from allocsim.errors import InputError, OutputError
from allocsim.trace.provenance import Provenance
from allocsim.trace.recorder_convert import Converter
from allocsim.trace.recorder_ending import Ending, read_ending
from allocsim.trace.recorder_log import Process, read_processes
from allocsim.trace.writer import TraceWriter

CHILDREN_SHOWN = 10


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


def convert(folder: Path, output: Path) -> Recording:
    """Write the traces of the logs in `folder`, which is removed when all are written.

    Else it is kept, and the error (OutputError, KeyboardInterrupt) says how to go on. Raises
    InputError when the folder holds no recording.
    """
    ending = read_ending(folder)
    processes = read_processes(folder)
    own = [process for process in processes if process.pid == ending.pid]
    if own:
        main = own[-1]  # what the process became, if it called exec
        try:
            recording = _write_all(main, processes, output, ending)
        except OutputError as error:
            raise OutputError(f"{error}; {_kept(folder, output)}") from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_kept(folder, output)) from None
    # Children that outlive the program may still write there.
    shutil.rmtree(folder, ignore_errors=True)
    if not own:
        raise InputError(
            f"{output}: nothing was recorded: the program took no preloaded library in "
            "(setuid programs refuse), or cleared LD_PRELOAD, or the disk is full"
        )
    return recording


def _kept(folder: Path, output: Path) -> str:
    """What became of a recording that has no traces yet, and how it gets them."""
    command = shlex.join(["allocsim", "trace", "convert", str(folder), "-o", str(output)])
    return f"the recording is kept; once that is mended, or with another -o: {command}"


def _write_all(main: Process, processes: list[Process], output: Path, ending: Ending) -> Recording:
    """Write the traces of the program's own process and of all others."""
    recorded, n_idle = [_write(main, output, ending, is_main=True)], 0
    for process in processes:
        if process is not main:
            path = _path_of_child(output, len(recorded), process)
            trace = _write(process, path, ending, is_main=False)
            recorded += [trace] if trace.n_ops else []
            n_idle += not trace.n_ops
    return Recording(ending.exit_code, tuple(recorded), n_idle)


def _path_of_child(output: Path, number: int, process: Process) -> Path:
    name = re.sub(r"[^\w.+-]", "_", Path(process.program).name) or "unknown"
    return output.with_name(f"{output.stem}.{number}-{name}{output.suffix}")


def _write(process: Process, path: Path, ending: Ending, *, is_main: bool) -> Recorded:
    """Write the trace of one process; a child's trace without ops is not kept."""
    converter = Converter(process, ending.ticks_per_ns)
    with TraceWriter(path) as writer:
        for batch in converter.batches():
            writer.append(batch)
        writer.provenance = _provenance(process, converter, ending if is_main else None)
    if not writer.n_ops and not is_main:
        path.unlink()
    explained = _explained(writer.provenance.extras)
    program = Path(process.program).name
    complete = process.stopped is None
    return Recorded(path, program, writer.n_ops, writer.n_threads, explained, complete)


def _provenance(process: Process, converter: Converter, ending: Ending | None) -> Provenance:
    return Provenance(
        program=process.program,
        arguments=process.arguments[1:],
        machine=_machine(),
        c_library=" ".join(platform.libc_ver()),
        recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        written_source="estimated",
        notes=_notes(process, converter),
        extras=_figures(process, converter, ending),
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


def _figures(process: Process, converter: Converter, ending: Ending | None) -> dict[str, Any]:
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
    elif ending is not None:
        figures |= _figures_of_killed(process, ending)
    if peak := figures.get("peak_rss_bytes"):
        figures["explained_share_of_peak_rss"] = round(totals.explained_peak_bytes / peak, 4)
    return figures


def _figures_of_killed(process: Process, ending: Ending) -> dict[str, Any]:
    """From the parent's view; the kernel's peak starts at that of the process's former program,
    so it tells nothing unless it grew."""
    figures: dict[str, Any] = {
        "minor_faults": ending.minor_faults - process.faults_before,
        "major_faults": ending.major_faults,
        "cpu_ns": ending.cpu_ns,
    }
    if ending.peak_kib > process.start_peak_kib:
        figures["peak_rss_bytes"] = ending.peak_kib * 1024
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
