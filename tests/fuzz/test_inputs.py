"""A short search among damaged inputs, all that were once found, and the codes in the documents."""

import subprocess
import sys
from pathlib import Path

import exit_codes
import pytest
import typer

from allocsim.cli import app

FUZZ = Path(__file__).parent / "fuzz_inputs.py"
FOUND = sorted((Path(__file__).parents[1] / "regressions" / "inputs").iterdir())


def fuzz(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The search in a process of its own: forking needs a parent without threads."""
    command = [sys.executable, str(FUZZ), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_damaged_inputs_are_refused_in_one_line_each(tmp_path: Path) -> None:
    done = fuzz("--seeds", "0:60", "--failures", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_what_was_found_once_stays_mended() -> None:
    done = fuzz("--replay", *FOUND)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("raise RuntimeError('lost')", "traceback: RuntimeError: lost"),
        ("os.kill(os.getpid(), 11)", "ended by SIGSEGV"),
        ("held = bytes([1]) * (5 << 28); time.sleep(60)", "killed for more than 1024 MiB"),
        ("sys.exit(3)", "exit code 3, which is not in the documents"),
        ("sys.exit(2)", "exit code 2 without a word"),
        ("print(chr(27))", "control characters in what it says"),
    ],
)
def test_the_search_sees_what_goes_wrong(damage: str, problem: str, tmp_path: Path) -> None:
    program = f"""
import os, sys, time
sys.path.insert(0, {str(FUZZ.parent)!r})
import allocsim.cli, forked
from pathlib import Path

def main():
    {damage}

allocsim.cli.main = main
print(forked.run(("layout",), Path({str(tmp_path)!r})).problem())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith(problem), done.stdout + done.stderr


def test_every_command_has_its_exit_codes_in_the_documents() -> None:
    top = typer.main.get_command(app)
    groups = {
        name: command for name, command in top.commands.items() if hasattr(command, "commands")
    }
    names = set(top.commands) - set(groups)
    names |= {f"{group} {name}" for group in groups for name in groups[group].commands}
    assert set(exit_codes.table()) == names
