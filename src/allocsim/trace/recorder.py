"""Records the memory calls of a real program and of its children, each into a trace of its own.

The program runs with a preloaded library (`recorder.c`) that logs every call into files beside the
output; when the program has ended, the logs become traces.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from allocsim.cbuild import build
from allocsim.errors import InputError
from allocsim.outputs import cannot_write
from allocsim.platform_support import require_glibc
from allocsim.trace.recorder_ending import Ending, reserve
from allocsim.trace.recorder_output import check_output
from allocsim.trace.recorder_program import check_recordable, find_program
from allocsim.trace.recorder_summary import Recording
from allocsim.trace.recorder_traces import convert

SOURCE = Path(__file__).parent / "recorder.c"
FLAGS = ("-fvisibility=hidden", "-fno-builtin-malloc", "-fno-builtin-calloc", "-lpthread", "-ldl")
FOLDER_VARIABLE = "ALLOCSIM_RECORD_FOLDER"
LIBRARY_COPY = "recorder.so"
LONGEST_FOLDER = 900

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
_IGNORED = (signal.SIGINT, signal.SIGQUIT)  # the terminal sends them to the program as well
_CALIBRATION_NS = 20_000_000


def record(command: Sequence[str], output: Path, *, force: bool = False) -> Recording:
    """Run `command`, a program and its arguments, and write its trace to `output`.

    Each child process, and each program that a process ran before it called exec, gets a trace
    beside it: for `t.parquet`, `t.1-sh.parquet`, numbered by their start. Raises InputError when
    the program cannot be found or preloaded into, without a compiler, when nothing was seen, and
    when there is an earlier recording, which `force` replaces. When the traces cannot be written
    the logs are kept, and the error says how to `convert` them.
    """
    require_glibc("record")
    program = find_program(command[0])
    check_recordable(program)
    check_output(output, "", force=force)
    library = build(SOURCE, shared=True, flags=FLAGS)
    folder = _folder_beside(output)
    try:
        run = _Run(folder, library)
        run.start(program, command)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise cannot_write(output, error) from error
        raise
    return convert(folder, output, force=force, ending=run.wait())


def _folder_beside(output: Path) -> Path:
    """A new folder for the logs, on the output's file system.

    Programs that the superuser starts may go on as other users: they find their way through it.
    """
    try:
        folder = tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.absolute().parent)
        if os.geteuid() == 0:
            Path(folder).chmod(0o711)
    except OSError as error:
        raise cannot_write(output, error) from error
    if len(os.fsencode(folder)) > LONGEST_FOLDER:
        Path(folder).rmdir()
        raise InputError(f"{output}: the path is too long; at most {LONGEST_FOLDER} bytes")
    return Path(folder)


class _Run:
    """One run of a program, recorded into `folder`."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._folder = folder
        self._environment = _environment(library, folder)
        self._recording = reserve(folder)
        self._clock = _Clock(library)
        if os.geteuid() == 0 and _is_open_to_all(folder):
            _copy_for_other_users(library, folder)

    def start(self, program: Path, command: Sequence[str]) -> None:
        """Start the program; raises InputError if the system refuses."""
        ignored_by_python = [signal.SIGPIPE, signal.SIGXFSZ]
        try:
            self._pid = os.posix_spawn(
                program, list(command), self._environment, setsigdef=ignored_by_python
            )
        except OSError as error:
            raise InputError(f"{program}: cannot be run: {error.strerror}") from error

    def wait(self) -> Ending:
        """Its end; noted in the folder, and before that as much as is known."""
        with _signals_passed_on(self._pid):
            ending = Ending(self._recording, self._pid, self._clock.ticks_per_ns())
            self._note(ending)
            _, status, usage = os.wait4(self._pid, 0)
        ending = ending.at_end(status, usage, self._clock.ticks_per_ns())
        self._note(ending)
        return ending

    def _note(self, ending: Ending) -> None:
        """It only serves if this process is killed: a disk that refuses is no reason to stop."""
        with contextlib.suppress(OSError):
            ending.save(self._folder)


def _is_open_to_all(folder: Path) -> bool:
    """Whether all users can reach what lies in `folder`, and run it."""
    folders = [folder, *folder.resolve().parents]
    runnable = not os.statvfs(folder).f_flag & os.ST_NOEXEC
    return runnable and all(path.stat().st_mode & stat.S_IXOTH for path in folders)


def _copy_for_other_users(library: Path, folder: Path) -> None:
    """The cache is closed to the users that a program of the superuser changes to."""
    with contextlib.suppress(OSError):
        copy = folder / LIBRARY_COPY
        shutil.copyfile(library, copy)
        copy.chmod(0o755)


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
