"""Programs that a recorded process ran, and that did not take the recorder in."""

import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from allocsim.errors import InputError, printable
from allocsim.trace.recorder_process import Process
from allocsim.trace.recorder_program import check_recordable, gains_privileges

_MOST_DIGITS = 40


@dataclass(frozen=True)
class UnseenProgram:
    """A program that the process `pid` ran, of which nothing was recorded, and why, if known."""

    pid: int
    program: str
    reason: str

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return f"{printable(self.program)} (process {self.pid}{reason})"


def unseen_programs(
    folder: Path, processes: Iterable[Process], unfinished: Iterable[Path]
) -> list[UnseenProgram]:
    """By the notes of all runs in `folder`: a run is seen if the process describes itself anew
    between it and the next run of the same process.

    A process that left an `unfinished` file took the recorder in at some time, and is left out.
    """
    had_recorder = {path.name.partition(".")[0] for path in unfinished}
    starts: dict[int, list[int]] = {}
    for process in processes:
        starts.setdefault(process.pid, []).append(process.start_ticks)
    unseen = []
    for pid, runs in sorted(_runs(folder).items()):
        if str(pid) in had_recorder:
            continue
        known = sorted(starts.get(pid, []))
        ends = [*(when for when, _ in runs), 2**64][1:]
        for (when, program), end in zip(runs, ends, strict=True):
            if bisect_right(known, when) == bisect_right(known, end):
                unseen.append(UnseenProgram(pid, program, _reason(program)))
    return unseen


def _runs(folder: Path) -> dict[int, list[tuple[int, str]]]:
    """When each process ran which program, in order; without the attempts that failed."""
    runs: dict[int, list[tuple[int, str]]] = {}
    for path in filter(Path.is_file, folder.glob("**/programs")):
        for pid, when, program in _notes(path):
            runs.setdefault(pid, []).append((when, program))
    found = {pid: _successful(sorted(notes, key=lambda n: n[0])) for pid, notes in runs.items()}
    return {pid: notes for pid, notes in found.items() if notes}


def _notes(path: Path) -> Iterator[tuple[int, int, str]]:
    """Process, time and program of each note in a file that the recorder wrote."""
    for note in path.read_bytes().split(b"\0")[:-1]:
        pid, _, rest = note.partition(b" ")
        when, _, program = rest.partition(b" ")
        if pid.isdigit() and when.isdigit() and len(pid + when) < _MOST_DIGITS:
            yield int(pid), int(when), program.decode(errors="replace")


def _successful(notes: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """A note without a program says that the one before came back."""
    runs: list[tuple[int, str]] = []
    for when, program in notes:
        if program:
            runs.append((when, program))
        elif runs:
            runs.pop()
    return runs


def _reason(program: str) -> str:
    """Why it could not be recorded, as far as its file tells."""
    found = shutil.which(program)
    if found is None:
        return ""
    if gains_privileges(Path(found)):
        return "set-user-ID"
    try:
        check_recordable(Path(found))
    except InputError as error:
        return str(error).partition(": ")[2].partition(",")[0].partition(";")[0]
    except OSError:
        return ""
    return ""
