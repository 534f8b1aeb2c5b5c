"""Runs without end, and those that take their process along: each fails alone, in one line."""

import json
import re

import pytest

from allocsim import platform_support
from allocsim.errors import InputError
from allocsim.experiment.command import run_command
from allocsim.experiment.execution.limits import LimitOptions, Limits
from allocsim.experiment.load import load_experiment
from allocsim.experiment.results import read_results

POLICY = """\
import ctypes
import os
import time

from allocsim import Param, Policy


class Faulty(Policy):
    fault = Param(0, low=0, high=9)
    calls = 0

    def malloc(self, size):
        self.calls += 1
        if self.calls > 50:
            self.misbehave()
        return self.kernel.sbrk(size)

    def misbehave(self):
        if self.fault == 1:
            time.sleep(600)
        elif self.fault == 2:
            for i in range(1 << 60):
                pass
        elif self.fault == 3:
            self.misbehave()
        elif self.fault == 4:
            ctypes.string_at(0)
        elif self.fault == 5:
            os.abort()
        elif self.fault == 6:
            kept = []
            for i in range(1 << 30):
                kept.append(b"x" * (1 << 26))
        elif self.fault == 7:
            raise SystemExit(3)
        elif self.fault == 8:
            raise MemoryError("no more")

    def free(self, address):
        pass
"""

FILE = """\
name = "faulty"
samples = 4
walks = 0
policies = ["faulty.py"]
[[workloads]]
name = "steady"
ops = 200
sizes = {{ distribution = "choice", sizes = [64] }}
[grid]
fault = [{faults}]
[limits]
time_s = 5.0
memory_bytes = "1 GiB"
"""

EXPECTED = {
    1: r"op \d+: it took longer than 5 s \(limits.time_s of the experiment\)",
    2: r"op \d+: it took longer than 5 s \(limits.time_s of the experiment\)",
    3: r"op \d+ \(malloc\), policy .*RecursionError.*",
    4: r"(op \d+: )?its worker process died: SIGSEGV in misbehave \(faulty.py:\d+\)",
    5: r"(op \d+: )?its worker process died: SIGABRT in misbehave \(faulty.py:\d+\)",
    6: r"op \d+: its process took [\d,]+ MiB of 1,024 MiB \(limits.memory_bytes .*\)",
    7: r"(op \d+: )?SystemExit: 3",
    8: r"op \d+ \(malloc\), policy .*MemoryError.*",
}


@pytest.fixture
def faulty(tmp_path):
    (tmp_path / "faulty.py").write_text(POLICY)
    return tmp_path


def make(folder, faults, console, jobs):
    file = folder / "faulty.toml"
    file.write_text(FILE.format(faults=", ".join(map(str, faults))))
    return run_command(str(file), folder / "out", jobs, False, console)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.full
def test_each_fails_alone_and_a_resumed_sweep_tries_it_again(faulty, console, jobs):
    assert make(faulty, range(9), console, jobs) == 1
    results = read_results(faulty / "out")
    assert [row["parameters"] for row in results.rows] == [{"fault": 0}]
    failed = {failure["run"]: failure["message"] for failure in results.manifest["failed"]}
    for fault, expected in EXPECTED.items():
        message = failed.pop(f"steady, faulty fault={fault}, seed 1")
        assert re.fullmatch(expected, message), (fault, message)
    assert not failed
    (faulty / "faulty.py").touch()
    assert make(faulty, [4, 0], console, jobs) == 1
    assert "1 run failed before; tried again now\n1 runs to make, 1 kept" in console.text()


def test_a_crash_is_reported_in_one_line(faulty, console):
    assert make(faulty, [4, 0], console, 1) == 1
    lines = [line for line in console.text().splitlines() if "FAILED" in line]
    assert len(lines) == 1 and "FAILED steady, faulty fault=4, seed 1: " in lines[0]
    assert json.loads((faulty / "out" / "manifest.json").read_text())["finished"] == 1


def test_limits_follow_ops_memory_and_wishes():
    usual = Limits.of(LimitOptions(), 500 << 20, jobs=1)
    assert usual == Limits(None, 400 << 20)
    assert usual.time_for(1_000_000, referee=False) == 560
    assert usual.time_for(0, referee=False) is None
    off = Limits.of(LimitOptions(time_s="off", memory_bytes="off"), 500 << 20, jobs=1)
    assert (off.memory_bytes, off.time_for(10, referee=False)) == (None, None)
    asked = Limits.of(LimitOptions(time_s=5.0, memory_bytes="1 GiB"), 500 << 20, jobs=1)
    assert (asked.time_for(10**9, referee=False), asked.memory_bytes) == (5.0, 2**30)
    assert asked.threads_from_ops > 2**60
    assert platform_support.memory_bytes() > 2**20


@pytest.mark.parametrize("line", ["time_s = 0", "time_s = -1", "memory_bytes = 5", 'time_s = "x"'])
def test_impossible_limits_are_refused_with_their_line(tmp_path, line):
    file = tmp_path / "x.toml"
    file.write_text(f'workloads = ["churn"]\npolicies = ["glibc"]\n[limits]\n{line}\n')
    with pytest.raises(InputError, match=r"x.toml:4: limits"):
        load_experiment(str(file))
