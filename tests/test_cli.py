"""What all commands have in common, as users meet it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from allocsim.kernel.costs import SHIPPED

ALLOCSIM = Path(sys.executable).with_name("allocsim")
POLICY = """
from allocsim import Param, Policy


class Bump(Policy):
    step = Param(4096, "bytes", 16, 1 << 30, "what the break moves by")

    def malloc(self, size):
        return self.kernel.sbrk((size + self.step) & -16)

    def free(self, address):
        pass
"""


@pytest.fixture
def allocsim(tmp_path):
    """Runs the command in a folder with a trace and a policy; gives what came of it."""
    (tmp_path / "ops.csv").write_text("op,thread,object,size\nmalloc,0,0,160\nfree,0,0,0\n")
    (tmp_path / "bump.py").write_text(POLICY)

    def run(*arguments, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        return subprocess.run([ALLOCSIM, *arguments], cwd=tmp_path, **options)

    done = run("trace", "import", "ops.csv", "-o", "ops.parquet")
    assert done.returncode == 0, done.stderr
    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [("trace", "export", "ops.parquet", "-o", "-"), ("layout",)], ids=" ".join
)
def test_output_that_nothing_takes_is_one_line(allocsim, arguments):
    with Path("/dev/full").open("w") as full:
        done = allocsim(*arguments, stdout=full)
    assert done.returncode == 2
    assert re.fullmatch("error: standard output, .*: No space left on device\n", done.stderr)


@pytest.mark.slow
def test_each_policy_takes_the_settings_that_it_has(allocsim):
    policies = ("--interpreted", "--policy", "bump.py", "--policy", "mmap_only")
    done = allocsim("simulate", "ops.parquet", *policies, "--set", "step=1M")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "stepp=1M",
            "error: --set stepp=1M: bump has no parameter 'stepp'; did you mean 'step'?\n",
        ),
        ("step=1", "error: parameter step: 1 is out of range; it is in 16 to 1073741824 bytes\n"),
    ],
)
def test_settings_are_refused_before_anything_runs(allocsim, setting, message):
    policies = ("--policy", "bump.py", "--policy", "mmap_only")
    done = allocsim("simulate", "ops.parquet", *policies, "--set", setting)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


@pytest.mark.slow
def test_the_table_and_the_json_tell_of_the_costs(allocsim, tmp_path):
    text = SHIPPED.read_text().partition("\n[contention]")[0]
    (tmp_path / "costs.toml").write_text(text)
    (tmp_path / "sure.toml").write_text(re.sub(r", low = .*?, high = .*?,", ",", text))
    simulate = ("simulate", "ops.parquet", "--interpreted", "--costs", "costs.toml")
    done = allocsim(*simulate)
    lines = done.stdout.splitlines()
    assert lines[2].startswith("  with 95 % of certainty") and " - " in lines[2]
    assert lines[-1].startswith("unit costs: costs.toml")
    provenance = json.loads(allocsim(*simulate, "--json").stdout)["runs"][0]["provenance"]
    assert provenance["costs"]["table"] == "costs.toml"
    assert len(provenance["cpu_interval_ns"]["cpu_ns"]) == 2
    assert "95 %" not in allocsim(*simulate[:-1], "sure.toml").stdout
    assert "allocsim calibrate" in allocsim("simulate", "ops.parquet", "--interpreted").stdout
