"""`allocsim verify` tells by its exit code whether model and reality are equal."""

import subprocess
import sys
from pathlib import Path

import pytest

ALLOCSIM = Path(sys.executable).with_name("allocsim")

WORKLOAD = """\
ops = 2000
live_objects = 100

[sizes]
distribution = "uniform"
low = 1
high = "256 KiB"
"""


def verify(folder, *options):
    (folder / "w.toml").write_text(WORKLOAD)
    command = [ALLOCSIM, "verify", "w.toml", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.usefixtures("real_glibc")
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--tunables", "glibc.malloc.mmap_threshold=8192"),
        ("--set", "mmap_max=0", "--cpus", "3"),
        ("--environment", "MALLOC_TOP_PAD_=0x10000", "--set", "mxfast=0"),
    ],
)
def test_equal_is_said_and_exits_with_0(tmp_path, options):
    done = verify(tmp_path, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("equal: 2000 ops, ")


def test_a_wrong_setting_is_refused(tmp_path, allocsim_here):
    (tmp_path / "w.toml").write_text(WORKLOAD)
    code, _, errors = allocsim_here("verify", tmp_path / "w.toml", "--set", "mmap_treshold=1")
    assert code == 2
    assert "did you mean 'mmap_threshold'" in errors
