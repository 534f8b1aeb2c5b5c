"""Runs `allocsim.cli.main()` in a forked child and says whether it behaved.

The parent has imported everything, so a child starts at once. It must not have started threads.
"""

import faulthandler
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import exit_codes
import interpreted

CPU_SECONDS = 20
WALL_SECONDS = 90
"""Longer than the limit of CPU time: other programs may have the processors."""
MEMORY_BYTES = 1 << 30
FILE_BYTES = 1 << 28
SHOWN_CHARACTERS = 3000


@dataclass(frozen=True)
class Outcome:
    """How a command ended. code: of its exit, or minus the signal that ended it."""

    arguments: tuple[str, ...]
    code: int
    output: str
    errors: str
    killed_for: str
    peak_bytes: int

    def problem(self) -> str:
        """What is wrong with that, or nothing."""
        if self.killed_for:
            return f"killed for {self.killed_for}"
        if "Traceback (most recent call last)" in self.errors:
            return "traceback: " + self.errors.strip().splitlines()[-1][:200]
        if self.code < 0:
            return f"ended by {signal.Signals(-self.code).name}"
        if self.peak_bytes > MEMORY_BYTES:
            return f"{self.peak_bytes >> 20} MiB of memory"
        if self.code not in exit_codes.documented(self.arguments):
            return f"exit code {self.code}, which is not in the documents"
        if self.code and not (self.errors + self.output).strip():
            return f"exit code {self.code} without a word"
        return _steering(self.errors + self.output)


def _steering(text: str) -> str:
    """Control characters that reach the terminal; a usage error repeats the user's own words."""
    if text.startswith("Usage: "):
        return ""
    found = {c for c in text if not c.isprintable() and c not in "\n\t"}
    return f"control characters in what it says: {sorted(found)!r:.100}" if found else ""


def apart(action: Callable[[], None]) -> None:
    """Run `action` in a child."""
    child = os.fork()
    if not child:
        code = 1
        try:
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0


def run(arguments: tuple[str, ...], folder: Path) -> Outcome:
    """Run a command in `folder`, within limits."""
    streams = [os.memfd_create(name) for name in ("output", "errors")]
    child = os.fork()
    if not child:
        _be_child(arguments, folder, *streams)
    killed_for, status, usage = _watch(child)
    output, errors = map(_read, streams)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGXCPU:
        killed_for = f"more than {CPU_SECONDS} s of CPU time"
    return Outcome(arguments, code, output, errors, killed_for, usage.ru_maxrss << 10)


def _read(stream: int) -> str:
    """Its beginning; closes it."""
    text = os.pread(stream, 1 << 20, 0).decode(errors="replace")
    os.close(stream)
    return text


def _watch(child: int) -> tuple[str, int, Any]:
    """Wait for a child, and end it when it takes too long or too much memory."""
    killed_for, end = "", time.monotonic() + WALL_SECONDS
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            return killed_for, status, usage
        if not killed_for:
            if time.monotonic() > end:
                killed_for = f"more than {WALL_SECONDS} s"
            elif _resident_bytes(child) > MEMORY_BYTES:
                killed_for = f"more than {MEMORY_BYTES >> 20} MiB of memory"
            if killed_for:
                os.killpg(child, signal.SIGKILL)
        time.sleep(0.004)


def _resident_bytes(child: int) -> int:
    try:
        pages = Path(f"/proc/{child}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * resource.getpagesize()


def _be_child(arguments: tuple[str, ...], folder: Path, output: int, errors: int) -> None:
    """Never returns."""
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        _redirect(output, errors)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
        faulthandler.dump_traceback_later(CPU_SECONDS - 2, file=sys.stderr)
        interpreted.prepare()
        code = _code_of_main(arguments)
    finally:
        os._exit(code)


def _redirect(output: int, errors: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (errors, 2)):
        os.dup2(source, target)


def _code_of_main(arguments: tuple[str, ...]) -> int:
    from allocsim.cli import main

    sys.argv = ["allocsim", *arguments]
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    return code & 0xFF if isinstance(code, int) else int(bool(code))
