"""A child process answers calls, and ends alone whatever happens in it."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from allocsim.limited_process import (
    CallRaised,
    LimitedProcess,
    MemoryLimitExceeded,
    ProcessDied,
    TimeLimitExceeded,
)


@pytest.fixture
def process():
    made = LimitedProcess()
    yield made
    made.kill()


def test_calls_are_answered_one_after_the_other_and_errors_come_back(process):
    assert process.call(bytes, [1, 2]) == b"\1\2"
    with pytest.raises(CallRaised, match="ValueError: bytes must be in range") as caught:
        process.call(bytes, [1000])
    assert "Traceback" in caught.value.details
    assert process.is_alive and process.call(bytes, b"again") == b"again"


def test_a_call_without_end_is_ended(process):
    with pytest.raises(TimeLimitExceeded, match=r"longer than 0\.2 s"):
        process.call(time.sleep, 600, time_s=0.2)
    assert not process.is_alive


def test_a_fatal_signal_is_named(process):
    with pytest.raises(ProcessDied, match="SIGSEGV"):
        process.call(ctypes.string_at, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says how much memory a process has")
def test_memory_is_limited(process):
    with pytest.raises(MemoryLimitExceeded, match="of 200 MiB"):
        process.call(bytearray, 1 << 31, memory_bytes=200 << 20)


def test_the_child_ends_with_its_parent_in_the_middle_of_a_call():
    code = (
        "import os, threading, time\n"
        "from allocsim.limited_process import LimitedProcess\n"
        "p = LimitedProcess(); p.call(bytes, b'')\n"
        "threading.Thread(target=p.call, args=(time.sleep, 600), daemon=True).start()\n"
        "time.sleep(0.2); print(p._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while _exists(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
