"""Starting: help loads little, and what one process compiled the next one only loads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("numba", "llvmlite", "scipy.stats", "seaborn", "matplotlib", "pandas", "pyarrow", "simpy")
HELP = """
import sys
from allocsim.cli import main
sys.argv = ["allocsim", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
print(*sorted(sys.modules), sep="\\n", file=sys.stderr)
"""
WARM = """
import json, os, sys
from pathlib import Path
from numba.core import event
from allocsim.compile_ahead import Code, compile_code
from allocsim.machine import Machine
with event.install_recorder("numba:compile") as recorder:
    threads = "--threads" in sys.argv
    code = Code("first_fit", Machine(), threads)
    warmed = [compile_code(code), compile_code(code)]
    compiled = len(recorder.buffer)
    kept = set(Path(os.environ["ALLOCSIM_CACHE"], "compiled").iterdir())
    from allocsim.simulation import simulate
    from allocsim.policy import load_policy
    from allocsim.workload import from_spec
    sizes = {"distribution": "uniform", "low": 1, "high": 3000}
    work = {"ops": 100, "threads": 1 + threads, "live_objects": 10, "sizes": sizes}
    run = simulate(from_spec(work, seed=1), load_policy("first_fit"))
missed = set(Path(os.environ["ALLOCSIM_CACHE"], "compiled").iterdir()) - kept
print(json.dumps([
    [w.was_cached for w in warmed], compiled > 0, len(missed), run.provenance["compiled"]
]))
"""
BAD = """
from allocsim import Policy

class Bad(Policy):
    def malloc(self, size):
        with open("/dev/null"):
            return size

    def free(self, address):
        pass
"""


@pytest.mark.parametrize("arguments", [["--help"], ["simulate", "--help"], ["run", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    done = subprocess.run(
        [sys.executable, "-c", HELP, *arguments], capture_output=True, text=True, check=True
    )
    assert "Usage" in done.stdout
    assert not set(HEAVY) & set(done.stderr.split())


def test_help_says_of_every_command_in_a_line_what_it_does(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = subprocess.run(
        [sys.executable, "-c", HELP, "--help"], capture_output=True, text=True, check=True
    ).stdout
    rows = [row.strip("│ ") for row in shown.partition("Commands")[2].splitlines()[1:]]
    lines = dict(row.split(maxsplit=1) for row in rows if row and row[0].isalpha())
    assert {"simulate", "check", "warm", "measure", "verify", "validate"} <= lines.keys()
    assert all(line.endswith(".") for line in lines.values())


def warmed(cache: Path, *options: str) -> list:
    done = subprocess.run(
        [sys.executable, "-c", WARM, *options],
        env=os.environ | {"ALLOCSIM_CACHE": str(cache)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("options", [(), ("--threads",)], ids="".join)
def test_what_one_process_warmed_the_next_one_loads(tmp_path, options):
    assert warmed(tmp_path, *options) == [[False, True], True, 0, True]
    assert warmed(tmp_path, *options) == [[True, True], False, 0, True]


@pytest.mark.slow
def test_warm_tells_what_does_not_compile(tmp_path, monkeypatch, capsys):
    from allocsim.warm import warm_command

    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path / "cache"))
    policy = tmp_path / "bad.py"
    policy.write_text(BAD)
    assert warm_command([str(policy)], threads=False) == 1
    assert "Bad cannot be compiled: Bad.malloc (bad.py:6)" in capsys.readouterr().out


def test_a_cache_that_takes_no_files_is_told_before_anything_is_compiled(tmp_path, monkeypatch):
    from allocsim.errors import OutputError
    from allocsim.warm import warm_command

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match="file is no folder"):
        warm_command(["first_fit"], threads=False)
