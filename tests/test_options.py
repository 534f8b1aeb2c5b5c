"""Options with impossible values: one line, exit code 2, and nothing runs."""

import os

import pytest

from allocsim.trace import Op, Trace, write_trace

POLICY = """
from allocsim import Param, Policy


class Bump(Policy):
    step = Param(16, unit="bytes")

    def malloc(self, size):
        return self.kernel.sbrk(size + self.step)

    def free(self, address):
        pass
"""


@pytest.fixture
def ops(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bump.py").write_text(POLICY)
    write_trace(tmp_path / "ops.parquet", Trace.of(op=[Op.MALLOC], object=[0], size=[100]))
    return "ops.parquet"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--memory", "inf", "--memory inf: 'inf' is no size or number"),
        ("--memory", "nan", "--memory nan: 'nan' is no size or number"),
        ("--memory", "1e999", "--memory 1e999: '1e999' is more than any machine has"),
        ("--memory", "1e4", "--memory 1e4: must be a whole number of bytes from 8192 to "),
        ("--memory", "-5", "--memory -5: must be a whole number of bytes from 8192 to "),
        ("--memory", "1000T", "--memory 1000T: must be a whole number of bytes from 8192 to "),
        ("--memory", "9" * 5000, "is too long for a number"),
        ("--memory", "1\x1b[31m", r"--memory 1\x1b[31m: '1\x1b[31m' is no size"),
        ("--set", "step=1e999", "--set step=1e999: '1e999' is more than any machine has"),
        ("--costs", "/dev/zero", "/dev/zero: cannot be read: it is a device"),
        ("--costs", ".", ".: cannot be read: it is a folder"),
        ("--costs", "x" * 5000, "cannot be read: File name too long"),
        ("--start-maps", "/dev/zero", "/dev/zero: cannot be read: it is a device"),
        ("--start-maps", "ops.parquet", "ops.parquet:1: cannot be read: not a UTF-8 text"),
        ("--start-maps=/proc/self/maps", "--start-brk=-5", "no heap can start at -0x5"),
        ("--start-maps=/proc/self/maps", "--start-brk=" + "9" * 30, "no heap can start at 0x"),
        ("--start-maps=/proc/self/maps", "--start-brk=" + "9" * 5000, "not an address"),
    ],
)
def test_simulate_refuses(ops, allocsim_here, option, value, message):
    code, shown, errors = allocsim_here("simulate", ops, "--policy", "bump.py", option, value)
    assert (code, shown) == (2, "")
    [line] = errors.splitlines()
    assert line.isprintable()
    assert message in line


@pytest.mark.parametrize("options", [["--seed", "9" * 20], ["--seed", "-1"], ["--cpus", "5000"]])
def test_numbers_out_of_range_are_refused(ops, allocsim_here, options):
    code, shown, errors = allocsim_here("simulate", ops, *options)
    assert (code, shown) == (2, "")
    assert "than or equal to" in errors


@pytest.mark.parametrize("size", ["64K", "64KiB", "64 KiB", "65536", "0x10000"])
def test_sizes_are_read_in_one_way(ops, allocsim_here, size):
    code, shown, _ = allocsim_here(
        "simulate", ops, "--policy", "mmap_only", "--memory", size, "--set", f"top_pad={size}"
    )
    assert code == 0
    assert "minor page faults" in shown
    code, shown, _ = allocsim_here("layout", "--stack-limit", size)
    assert code == 0
    assert "stack" in shown


@pytest.mark.parametrize("size", ["1K", "-1", "inf", "200T"])
def test_layout_refuses_impossible_stacks(allocsim_here, size):
    code, _, errors = allocsim_here("layout", "--stack-limit", size)
    assert code == 2
    assert errors.startswith(f"error: --stack-limit {size}: ")


def test_a_fifo_is_no_experiment_and_no_cost_table(ops, tmp_path, allocsim_here):
    os.mkfifo(tmp_path / "fifo.toml")
    for arguments in (("run", "fifo.toml"), ("simulate", ops, "--costs", "fifo.toml")):
        code, _, errors = allocsim_here(*arguments)
        assert code == 2
        assert len(errors.splitlines()) == 1
