"""What a recording leaves: the logs of its processes become traces, as soon as there is room."""

import shlex
import shutil
from pathlib import Path

from allocsim.errors import InputError, OutputError, printable
from allocsim.outputs import reason_of
from allocsim.trace.recorder_convert import Converter
from allocsim.trace.recorder_ending import Ending, read_ending
from allocsim.trace.recorder_output import check_output, path_of_child, remove_stale
from allocsim.trace.recorder_process import Process, read_processes
from allocsim.trace.recorder_provenance import explained, provenance_of, stop_reason
from allocsim.trace.recorder_summary import Recorded, Recording
from allocsim.trace.recorder_unseen import unseen_programs
from allocsim.trace.writer import TraceWriter

_CLOSED = ".ended"
_DAMAGE = (ArithmeticError, LookupError, ValueError, InputError)
"""What reading a log that nobody vouches for may raise."""


def convert(
    folder: Path, output: Path, *, force: bool = False, ending: Ending | None = None
) -> Recording:
    """Write the traces of the logs in `folder`, which is removed when all are written.

    Else it is kept, and the error (OutputError, KeyboardInterrupt) says how to go on. `ending` is
    what the folder says unless given. Raises InputError when the folder holds no recording, when
    its program still runs, and for an output that is there already, unless with `force`.
    """
    ending = ending or read_ending(folder)
    check_output(output, ending.recording, force=force)
    folder = _closed(folder)
    kept = _kept(folder, output, force=force)
    try:
        recording = _Conversion(folder, output, ending).run()
        remove_stale(output, ending.recording)
    except InputError as error:
        raise type(error)(f"{error}; {kept}") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(kept) from None
    except (OSError, MemoryError) as error:
        reason = reason_of(error) or "not enough memory"
        raise OutputError(f"{output}: cannot convert: {reason}; {kept}") from error
    except Exception as error:
        error.add_note(kept)
        raise
    if not recording.kept:
        shutil.rmtree(folder, ignore_errors=True)
    if not recording.traces:
        raise InputError(_nothing(output, recording))
    return recording


def _closed(folder: Path) -> Path:
    """Rename the folder, so that processes that outlive the program add nothing more to it."""
    if folder.name.endswith(_CLOSED):
        return folder
    try:
        return folder.rename(folder.with_name(folder.name + _CLOSED))
    except OSError:
        return folder


def _kept(folder: Path, output: Path, *, force: bool) -> str:
    """What became of a recording that has no traces yet, and how it gets them."""
    command = ["allocsim", "trace", "convert", str(folder), "-o", str(output)]
    command += ["--force"] * force
    return "the recording is kept; once that is mended, or with another -o: " + shlex.join(command)


def _nothing(output: Path, recording: Recording) -> str:
    told = [*recording.lost, *(f"not recorded: {program}" for program in recording.unseen)]
    reasons = "; ".join(told) or (
        "the program took no preloaded library in (setuid programs refuse), or the disk is full"
    )
    return f"{output}: nothing was recorded (exit code {recording.exit_code}): {reasons}"


class _Conversion:
    """Writes the traces of the program's own process and of all others."""

    def __init__(self, folder: Path, output: Path, ending: Ending) -> None:
        self._folder, self._output, self._ending = folder, output, ending
        self._lost: list[str] = []
        self._is_damaged = False

    def run(self) -> Recording:
        """Write all; what cannot be read is left out and named."""
        processes, unfinished = read_processes(self._folder)
        self._lost = [_unfinished(path) for path in unfinished]
        main = _last_of(processes, self._ending.pid)
        own = self._write(main, self._output, is_main=True) if main else None
        others = [process for process in processes if process is not main]
        children, n_idle = self._write_children(others)
        return Recording(
            exit_code=self._ending.exit_code,
            own=own,
            traces=(*([own] if own else []), *children),
            n_idle=n_idle,
            unseen=tuple(unseen_programs(self._folder, processes, unfinished)),
            lost=tuple(self._lost),
            kept=self._folder if self._is_damaged else None,
        )

    def _write_children(self, processes: list[Process]) -> tuple[list[Recorded], int]:
        """Their traces, and how many made no call: a trace without ops is not kept."""
        written: list[Recorded] = []
        n_idle = 0
        for process in processes:
            path = path_of_child(self._output, len(written) + 1, process)
            trace = self._write(process, path, is_main=False)
            if trace and not trace.n_ops:
                path.unlink()
                n_idle += not trace.stop_reason
                self._lost += _without_ops(process, trace)
            elif trace:
                written.append(trace)
        return written, n_idle

    def _write(self, process: Process, path: Path, *, is_main: bool) -> Recorded | None:
        """Write the trace of one process; None if its logs are damaged."""
        try:
            return _write_trace(process, path, self._ending, is_main=is_main)
        except OutputError:
            raise
        except _DAMAGE as error:
            self._is_damaged = True
            what = f"the logs of process {process.pid} ({printable(process.name)}) are damaged"
            self._lost.append(f"{what}: {error or type(error).__name__}")
            return None


def _without_ops(process: Process, trace: Recorded) -> list[str]:
    """What to say of a child without ops: nothing, if it made no call."""
    reason = trace.stop_reason
    name = printable(process.name)
    return [f"process {process.pid} ({name}): {reason}"] if reason else []


def _last_of(processes: list[Process], pid: int) -> Process | None:
    """What the process became, if it called exec."""
    return next((process for process in reversed(processes) if process.pid == pid), None)


def _unfinished(path: Path) -> str:
    pid = path.name.partition(".")[0]
    return f"process {pid} was killed, or found no room on the disk, before it could be recorded"


def _write_trace(process: Process, path: Path, ending: Ending, *, is_main: bool) -> Recorded:
    converter = Converter(process, ending.ticks_per_ns)
    with TraceWriter(path) as writer:
        for batch in converter.batches():
            writer.append(batch)
        writer.provenance = provenance_of(process, converter, ending, is_main=is_main)
    return Recorded(
        path=path,
        program=process.name,
        n_ops=writer.n_ops,
        n_threads=writer.n_threads,
        explained=explained(writer.provenance.extras),
        stop_reason=stop_reason(process),
    )
