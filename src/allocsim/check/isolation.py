"""A check in a process of its own: only a process can be ended whatever its code does."""

import faulthandler
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from allocsim.check.progress import Progress

POLL_S = 0.05
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Limits:
    """What a check may take: seconds for one operation and in all, and bytes of memory."""

    op_s: float = 5.0
    total_s: float = 120.0
    memory_bytes: int = 1 << 30


@dataclass(frozen=True)
class Ended:
    """Why a check gave no result, and whether it would have gone on without an end."""

    reason: str
    endless: bool = False


def in_child(work: Callable[[], Any], progress: Progress, limits: Limits) -> Any:
    """What `work` returns, which must fit into JSON; an Ended if its process did not get there."""
    sys.stdout.flush()
    sys.stderr.flush()
    progress.start()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _be_child(work, writer)
    os.close(writer)
    status = None
    try:
        answer, ended = _await_answer(reader, pid, progress, limits)
        if ended is None and not answer:
            status = os.waitpid(pid, 0)[1]
            ended = Ended(f"{progress}: {_death(status)}")
    finally:
        os.close(reader)
        if status is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return ended or json.loads(answer)


def _be_child(work: Callable[[], Any], writer: int) -> NoReturn:
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent answers Ctrl-C
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.disable()  # a crash is told in one line
        with open(writer, "w") as file:
            json.dump(work(), file)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _await_answer(
    reader: int, pid: int, progress: Progress, limits: Limits
) -> tuple[bytes, Ended | None]:
    """What the child has written when it closes its end, or why it may not go on."""
    answer, beats = b"", -1
    started = moved = time.monotonic()
    most_bytes = _resident_bytes(pid) + limits.memory_bytes
    while True:
        if select.select([reader], [], [], POLL_S)[0]:
            if not (piece := os.read(reader, 1 << 16)):
                return answer, None
            answer += piece
        now = time.monotonic()
        if progress.beats != beats:
            beats, moved = progress.beats, now
        for since, most_s in ((moved, limits.op_s), (started, limits.total_s)):
            if now - since > most_s:
                return b"", Ended(f"{progress}: no end after {most_s:g} s", endless=True)
        if _resident_bytes(pid) > most_bytes:
            gib = limits.memory_bytes / (1 << 30)
            return b"", Ended(f"{progress}: more than {gib:g} GiB of memory used", endless=True)


def _resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 where the system has no /proc."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0


def _death(status: int) -> str:
    """How a process ended, from what waitpid says of it."""
    if os.WIFSIGNALED(status):
        return f"the process was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"the policy ended the process, with exit code {os.waitstatus_to_exitcode(status)}"
