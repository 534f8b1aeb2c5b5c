"""Commands in surroundings that few people have: closed streams, a locale other than UTF-8."""

import os
import subprocess
import sys

import pytest

MAIN = "import sys; from allocsim.cli import main; sys.exit(main())"
PRINT_AND_WRITE = ["list", "--json-file", "list.json"]
WORKLOAD = """\
ops = 30
live_objects = 5
sizes = { distribution = "uniform", low = 16, high = 100 }
"""
READ_INPUT = ["trace", "import", "-", "-o", "t.parquet"]


def allocsim(arguments, folder, closed=(), environment=None):
    """Runs a command; gives its exit code and what it said."""
    shell = f'exec "$@" {" ".join(f"{number}>&-" for number in closed)}'
    command = ["sh", "-c", shell, "sh", sys.executable, "-c", MAIN, *arguments]
    ended = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=os.environ | (environment or {})
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("closed", [(1,), (1, 2), (0, 1, 2)])
def test_a_closed_output_is_one_that_cannot_be_written(tmp_path, closed):
    code, shown, errors = allocsim(PRINT_AND_WRITE, tmp_path, closed)
    assert (code, shown) == (2, "")
    assert errors.count("\n") == (2 not in closed)
    if errors:
        assert "standard output" in errors


def test_a_closed_input_is_an_empty_one(tmp_path):
    code, _, errors = allocsim(READ_INPUT, tmp_path, closed=(0,))
    assert code == 2
    assert errors.startswith("error: ") and errors.count("\n") == 1


def test_the_encoding_of_the_locale_does_not_matter(tmp_path):
    workload = tmp_path / "w.toml"
    workload.write_text(WORKLOAD)
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    arguments = ["simulate", "w.toml", "--policy", "first_fit"]
    code, shown, errors = allocsim(arguments, tmp_path, environment=ascii_only)
    assert (code, errors) == (0, "")
    assert "peak resident" in shown
