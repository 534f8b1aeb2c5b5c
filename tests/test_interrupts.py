"""One Ctrl-C ends a command, whatever it is doing."""

import os
import signal
import subprocess
import sys
import time

import pytest

POLICY = """\
import os
import time

from allocsim import Policy


class Endless(Policy):
    def malloc(self, size):
        {before}
        x = 1
        for i in range(1 << 60):
            x = (x * 1103515245 + i) & 1073741823
        return x

    def free(self, address):
        pass
"""

MAIN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from allocsim.cli import main; main()"
)


def start(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def trace(tmp_path):
    (tmp_path / "t.csv").write_text("op,thread,object,size\nmalloc,0,0,100\n")
    command = start(tmp_path, "trace", "import", "t.csv", "-o", "t.parquet")
    assert command.wait() == 0
    return "t.parquet"


def test_an_interpreted_policy_without_end_is_interrupted(tmp_path, trace):
    (tmp_path / "endless.py").write_text(POLICY.format(before='open("started", "w").close()'))
    command = start(tmp_path, "simulate", trace, "--policy", "endless.py")
    wait_for((tmp_path / "started").exists)
    os.kill(command.pid, signal.SIGINT)
    text, _ = command.communicate(timeout=20)
    assert (command.returncode, text) == (130, "interrupted\n")


def test_native_code_without_end_is_interrupted(tmp_path):
    stuck = (
        "import ctypes; from allocsim.cli.interrupts import end_on_interrupt; end_on_interrupt();"
        "c, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64);"
        "c.pthread_mutex_lock(lock); print('stuck', flush=True); c.pthread_mutex_lock(lock)"
    )
    code = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {stuck}"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True)
    assert process.stdout.readline() == "stuck\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", "interrupted\n")
    assert process.returncode == 130


@pytest.mark.slow
@pytest.mark.full
def test_a_compiled_policy_without_end_is_interrupted(tmp_path, trace):
    (tmp_path / "endless.py").write_text(POLICY.format(before="pass"))
    command = start(tmp_path, "simulate", trace, "--policy", "endless.py", "--compiled")
    time.sleep(20)  # it compiles, and then loops: a Ctrl-C ends both
    os.kill(command.pid, signal.SIGINT)
    text, _ = command.communicate(timeout=20)
    assert command.returncode == 130 and text.endswith("interrupted\n"), text
    assert "Traceback" not in text
