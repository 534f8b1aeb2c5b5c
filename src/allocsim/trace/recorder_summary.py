"""What a recording gave, for people."""

from dataclasses import dataclass
from pathlib import Path

from allocsim.errors import printable
from allocsim.trace.recorder_unseen import UnseenProgram

SHOWN = 10
"""Lines of one sort that are shown; of the others, the number."""


@dataclass(frozen=True)
class Recorded:
    """One trace that was written, and what of the process's peak resident memory it explains.

    stop_reason: why the recording stopped before the program's end; empty if it did not.
    """

    path: Path
    program: str
    n_ops: int
    n_threads: int
    explained: str
    stop_reason: str

    def __str__(self) -> str:
        ops = f"{self.n_ops:,} op{'s' * (self.n_ops != 1)}"
        threads = f"{self.n_threads} thread{'s' * (self.n_threads != 1)}"
        cut = f"; INCOMPLETE: {self.stop_reason}" if self.stop_reason else ""
        name = printable(self.program)
        return f"{printable(str(self.path))}: {name}, {ops}, {threads}, {self.explained}{cut}"


@dataclass(frozen=True)
class Recording:
    """A finished recording: the exit code, 128 + n if signal n ended the program, and the traces.

    own: that of the program itself, the first of the traces; None if only its children could be
    recorded. n_idle: children that made no call. unseen: programs that took no recorder in. lost:
    processes that left nothing to convert, each with the reason. kept: the logs' folder, if some of
    them are damaged.
    """

    exit_code: int
    own: Recorded | None
    traces: tuple[Recorded, ...]
    n_idle: int = 0
    unseen: tuple[UnseenProgram, ...] = ()
    lost: tuple[str, ...] = ()
    kept: Path | None = None

    @property
    def is_complete(self) -> bool:
        """Whether everything that the processes did is in the traces."""
        cut = any(trace.stop_reason for trace in self.traces)
        return self.own is not None and not (cut or self.unseen or self.lost)

    def summary(self) -> str:
        """What was recorded: the program's own trace, then the largest others; what was not."""
        others = sorted(
            (trace for trace in self.traces if trace is not self.own), key=lambda t: -t.n_ops
        )
        first = (
            str(self.own) if self.own else "INCOMPLETE: of the program itself nothing was recorded"
        )
        lines = [first, *map(str, others[:SHOWN])]
        if hidden := others[SHOWN:]:
            n_ops = sum(trace.n_ops for trace in hidden)
            lines.append(f"{len(hidden)} more traces of other processes, {n_ops:,} ops together")
        if self.n_idle:
            lines.append(f"{self.n_idle} more processes made no memory call that could be seen")
        lines += _at_most([f"INCOMPLETE: {reason}" for reason in self.lost])
        lines += _at_most([f"not recorded: {program}" for program in self.unseen])
        if self.kept:
            lines.append(f"the logs are kept: {self.kept}")
        return "\n".join(lines)


def _at_most(lines: list[str]) -> list[str]:
    hidden = len(lines) - SHOWN
    if hidden <= 0:
        return lines
    return [*lines[:SHOWN], f"{lines[0].partition(':')[0]}: {hidden} more"]
