"""Ctrl-C ends a command, even in compiled code that never comes back to Python."""

import os
import signal
import sys
import threading
from types import FrameType

_GRACE_S = 1.0
"""How long the main thread may take to notice a Ctrl-C before the process is ended."""

EXIT_CODE = 130


def end_on_interrupt() -> None:
    """Ends the process after a Ctrl-C that the main thread does not notice within a second.

    Python calls signal handlers between its own instructions, so compiled code that runs on delays
    them. The system calls a part of the interpreter at once, which wakes a thread here: compiled
    code lets other threads run. A command that has noticed ends itself, and keeps what it must.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # ignored, as in a shell's background jobs
    noticed = threading.Event()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def notice(number: int, frame: FrameType | None) -> None:
        noticed.set()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, notice)
    threading.Thread(target=_watch, args=(reader, noticed), daemon=True).start()


def _watch(reader: int, noticed: threading.Event) -> None:
    while signals := os.read(reader, 64):
        if signal.SIGINT not in signals:
            continue
        if not noticed.wait(_GRACE_S):
            os.write(sys.stderr.fileno(), b"interrupted\n")
            os._exit(EXIT_CODE)
        noticed.clear()


def leave_if_busy() -> None:
    """Ends the process where threads are still at work, perhaps in compiled code without end.

    Python would wait for them.
    """
    working = [t for t in threading.enumerate() if t is not threading.main_thread()]
    if any(not thread.daemon for thread in working):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(EXIT_CODE)
