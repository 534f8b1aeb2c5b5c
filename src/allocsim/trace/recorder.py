"""Records the memory calls of a real program and of its children, each into a trace of its own.

The program runs with a preloaded library (`recorder.c`) that logs every call into files beside the
output; when the program has ended, the logs become traces.
"""

import contextlib
import ctypes
import os
import re
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from allocsim.cbuild import build
from allocsim.errors import InputError
from allocsim.outputs import AtomicFile, cannot_write
from allocsim.trace.recorder_ending import Ending, reserve
from allocsim.trace.recorder_program import check_recordable, find_program
from allocsim.trace.recorder_traces import Recording, convert

SOURCE = Path(__file__).parent / "recorder.c"
FLAGS = ("-fvisibility=hidden", "-fno-builtin-malloc", "-fno-builtin-calloc", "-lpthread", "-ldl")
FOLDER_VARIABLE = "ALLOCSIM_RECORD_FOLDER"
LONGEST_FOLDER = 900

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
_IGNORED = (signal.SIGINT, signal.SIGQUIT)  # the terminal sends them to the program as well
_CALIBRATION_NS = 20_000_000


def record(command: Sequence[str], output: Path) -> Recording:
    """Run `command`, a program and its arguments, and write its trace to `output`.

    Each child process, and each program that a process ran before it called exec, gets a trace
    beside it: for `t.parquet`, `t.1-sh.parquet`, numbered by their start. Raises InputError when
    the program cannot be found or preloaded into, without a compiler, and when nothing was seen.
    When the traces cannot be written the logs are kept, and the error says how to `convert` them.
    """
    program = find_program(command[0])
    check_recordable(program)
    AtomicFile(output)  # refuses what is no place for a file, before the program runs
    library = build(SOURCE, shared=True, flags=FLAGS)
    folder = _folder_beside(output)
    try:
        reserve(folder)
        clock = _Clock(library)
        pid, status, usage = _run(program, command, _environment(library, folder))
        Ending.of(pid, status, usage, clock.ticks_per_ns()).save(folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise cannot_write(output, error) from error
        raise
    return convert(folder, output)


def _folder_beside(output: Path) -> Path:
    """A new folder for the logs, on the output's file system."""
    try:
        folder = tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.absolute().parent)
    except OSError as error:
        raise cannot_write(output, error) from error
    if len(os.fsencode(folder)) > LONGEST_FOLDER:
        Path(folder).rmdir()
        raise InputError(f"{output}: the path is too long; at most {LONGEST_FOLDER} bytes")
    return Path(folder)


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
