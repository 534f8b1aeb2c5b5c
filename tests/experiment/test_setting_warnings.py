"""Settings with another effect than they seem to have are a warning, in each command once."""

import json
import subprocess
import sys

import pytest

from allocsim.trace import Op, Provenance, Trace, write_trace

TRACE = Trace.of([Op.MALLOC, Op.FREE], [0, 0], [100, 0])
RECORDED = {"MALLOC_ARENA_MAX": "2", "LD_PRELOAD": "x.so", "GLIBC_TUNABLES": ""}


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "recorded.parquet"
    extras = {"allocator_environment": RECORDED}
    write_trace(path, TRACE, Provenance(extras=extras))
    return path


def allocsim(*arguments):
    code = "from allocsim.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_simulate_warns_on_standard_error_and_in_its_json(recorded):
    found = allocsim("simulate", recorded, "--tunables", "foo", "--set", "top_pad=0", "--json")
    assert found.returncode == 0
    lines = found.stderr.splitlines()
    assert [line.startswith("warning: ") for line in lines] == [True] * 3
    assert "'foo'" in lines[0]
    assert "setting top_pad pins mmap_threshold" in lines[1]
    assert "recorded under MALLOC_ARENA_MAX=2, and is simulated otherwise" in lines[2]
    assert [f"warning: {line}" for line in json.loads(found.stdout)["warnings"]] == lines


def test_as_recorded_there_is_nothing_to_warn_of(recorded):
    environment = ["--environment", "MALLOC_ARENA_MAX=2"]
    found = allocsim(
        "simulate", recorded, *environment, "--policy", "glibc", "--policy", "best_fit"
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_other_policies_have_no_such_warnings(recorded):
    assert allocsim("simulate", recorded, "--policy", "best_fit").stderr == ""


def test_run_warns_once_in_its_closing_lines_and_its_manifest(recorded, tmp_path):
    spec = tmp_path / "e.toml"
    spec.write_text(
        'question = "?"\n[[workloads]]\nname = "mine"\n'
        f'trace = "{recorded}"\n'
        '[[policies]]\nuse = "glibc"\n[grid]\ntrim_threshold = [4096, 8192]\n'
    )
    found = allocsim("run", spec, "-o", tmp_path / "results", "--jobs", 1)
    assert found.returncode == 0, found.stderr
    warnings = json.loads((tmp_path / "results" / "manifest.json").read_text())["warnings"]
    assert len(warnings) == 2
    assert warnings[0].startswith("setting trim_threshold pins mmap_threshold")
    assert warnings[1].startswith("mine: the trace was recorded under MALLOC_ARENA_MAX=2")
    assert [found.stdout.count(f"warning: {line}\n") for line in warnings] == [1, 1]
