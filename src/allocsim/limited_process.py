"""A child process that makes calls one at a time, and can be ended from outside at any moment.

Only a process can be: code that loops without end, sleeps, recurses or writes through a null
pointer takes no notice of a thread. The child is a fresh interpreter, since forking a process that
has threads may hang. Answers are bytes, which the parent never unpickles.
"""

import contextlib
import faulthandler
import json
import mmap
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from allocsim.errors import AllocsimError

_CHILD = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from allocsim.limited_process import serve
serve(int(sys.argv[2]), int(sys.argv[3]))
"""
_POLL_S = 0.05
"""How often the parent looks at limits, and the child at whether its parent lives."""

_STATUS_BYTES = 4096
_ANSWER, _RAISED = b"=", b"!"


class CallEnded(AllocsimError):
    """A call gave no answer. status: what the child last said of how far it was."""

    def __init__(self, message: str, status: str = ""):
        super().__init__(message)
        self.status = status


class TimeLimitExceeded(CallEnded):
    """The call took too long; its process was killed."""


class MemoryLimitExceeded(CallEnded):
    """The child's resident memory was too large; it was killed."""


class ProcessDied(CallEnded):
    """The process ended during the call; the message says by which signal, and where."""


class CallRaised(CallEnded):
    """The function raised an exception. details: its traceback."""

    def __init__(self, message: str, status: str = "", details: str = ""):
        super().__init__(message, status)
        self.details = details


class LimitedProcess:
    """One child process. Its calls are made one after the other; `kill` may come from any thread.

    After a call that ended with anything but an answer or CallRaised the process is gone.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._notes = tempfile.TemporaryFile()  # noqa: SIM115
        self._notes.truncate(2 * _STATUS_BYTES)
        self._status = mmap.mmap(self._notes.fileno(), _STATUS_BYTES)
        passed = (theirs.fileno(), self._notes.fileno())
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, json.dumps(sys.path), *map(str, passed)],
            stdin=subprocess.DEVNULL,
            pass_fds=passed,
        )
        theirs.close()
        self._connection = Connection(ours.detach())

    @property
    def is_alive(self) -> bool:
        """Whether it can be called."""
        return self._process.poll() is None

    def call(
        self,
        function: Callable[..., bytes],
        *arguments: Any,
        time_s: float | None = None,
        memory_bytes: int | None = None,
    ) -> bytes:
        """What `function(*arguments)` returns in the child; CallEnded if it returns nothing.

        function: of a module, found there by its name. time_s: how long the call may take.
        memory_bytes: how much resident memory the child may have, looked at 20 times a second, on
        Linux only.
        """
        deadline = None if time_s is None else time.monotonic() + time_s
        self._status[:2] = bytes(2)
        try:
            self._connection.send_bytes(pickle.dumps((function, arguments)))
            while not self._connection.poll(_POLL_S):
                self._require_time(deadline, time_s)
                self._require_memory(memory_bytes)
            answer = self._connection.recv_bytes()
        except (EOFError, OSError):
            raise self._death() from None
        if answer[:1] == _ANSWER:
            return answer[1:]
        raised = json.loads(answer[1:])
        raise CallRaised(raised["message"], self._read_status(), raised["details"])

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()
        self._process.wait()

    def _require_time(self, deadline: float | None, time_s: float | None) -> None:
        if deadline is not None and time.monotonic() > deadline:
            status = self._read_status()
            self.kill()
            raise TimeLimitExceeded(f"it took longer than {time_s:.3g} s", status)

    def _require_memory(self, memory_bytes: int | None) -> None:
        resident = _resident_bytes(self._process.pid) if memory_bytes else 0
        if memory_bytes and resident > memory_bytes:
            status = self._read_status()
            self.kill()
            raise MemoryLimitExceeded(
                f"its process took {resident / 2**20:,.0f} MiB of {memory_bytes / 2**20:,.0f} MiB",
                status,
            )

    def _death(self) -> ProcessDied:
        """Says how the process ended. Called when its end of the connection is closed."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()
            code = -signal.SIGKILL
        how = f"exit code {code}"
        if code < 0:
            how = signal.Signals(-code).name
        if code == -signal.SIGKILL:
            how += ", perhaps for want of memory"
        return ProcessDied(f"its worker process died: {how}{self._place()}", self._read_status())

    def _place(self) -> str:
        """Where in Python a fatal signal came, as faulthandler wrote it; stdlib frames aside."""
        size = os.fstat(self._notes.fileno()).st_size
        text = os.pread(self._notes.fileno(), size, _STATUS_BYTES).decode(errors="replace")
        library = sysconfig.get_path("stdlib")
        for line in text.splitlines():
            _, quote, rest = line.partition('File "')
            file, _, rest = rest.partition('", line ')
            number, _, method = rest.partition(" in ")
            if quote and not file.startswith((library, "<")):
                return f" in {method} ({Path(file).name}:{number})"
        return ""

    def _read_status(self) -> str:
        n_bytes = int.from_bytes(self._status[:2], "little")
        return self._status[2 : 2 + n_bytes].decode(errors="replace")


def _resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 where /proc does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * resource.getpagesize()


# ---- in the child
_describe: Callable[[], str] = str
_serving = False


def is_worker() -> bool:
    """Whether this process is a LimitedProcess of another one."""
    return _serving


def report_status(describe: Callable[[], str]) -> None:
    """Has the parent know, up to 1/20 s later, what `describe()` says of how far the call is.

    It is called in another thread than the one that works. Nobody listens in a process that is
    no LimitedProcess.
    """
    global _describe
    _describe = describe


def serve(socket_fd: int, notes_fd: int) -> None:
    """Answers calls until the parent closes the connection or ends. For the child only."""
    global _serving
    _serving = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    os.lseek(notes_fd, _STATUS_BYTES, os.SEEK_SET)
    faulthandler.enable(notes_fd, all_threads=False)
    parent = socket.socket(fileno=os.dup(socket_fd))
    arguments = (parent, mmap.mmap(notes_fd, _STATUS_BYTES))
    threading.Thread(target=_keep_in_touch, args=arguments, daemon=True).start()
    connection = Connection(socket_fd)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            connection.send_bytes(_answer(connection.recv_bytes()))


def _answer(request: bytes) -> bytes:
    report_status(str)
    try:
        function, arguments = pickle.loads(request)  # the parent's own
        return _ANSWER + function(*arguments)
    except BaseException as error:  # SystemExit and KeyboardInterrupt may be a policy's, too
        message = f"{type(error).__name__}: {error}"
        return _RAISED + json.dumps({"message": message, "details": _details(error)}).encode()


def _details(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-20))


def _keep_in_touch(parent: socket.socket, status: mmap.mmap) -> None:
    """Tells the parent how far the call is, and ends with it, even in the middle of a call."""
    while True:
        time.sleep(_POLL_S)
        with contextlib.suppress(BlockingIOError):
            if not parent.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                os._exit(1)
        with contextlib.suppress(Exception):  # what it looks at changes under its hands
            text = _describe().encode()[: _STATUS_BYTES - 2]
            status[: 2 + len(text)] = len(text).to_bytes(2, "little") + text
