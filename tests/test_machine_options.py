"""Every command that simulates takes the options of the machine, under the same names."""

import json

import pytest
from typer.testing import CliRunner

from allocsim.cli import app
from allocsim.errors import InputError
from allocsim.machine import Machine
from allocsim.machine_text import machine_from_text


def totals(*options):
    ended = CliRunner().invoke(app, ["simulate", "jq", *options, "--json"])
    assert ended.exit_code == 0, ended.exception
    return json.loads(ended.stdout)["runs"][0]["totals"]


def test_a_machine_file_and_keys(tmp_path):
    file = tmp_path / "small.toml"
    file.write_text('memory_bytes = "2 MiB"\ncpus = 3\n')
    machine = machine_from_text([str(file), "memory_bytes=4M", "vma_locks=false", "bits=32"])
    assert machine == Machine(memory_bytes=4 << 20, cpus=3, vma_locks=False, bits=32)


def test_a_short_option_is_the_key():
    swapped = totals("--memory", "2M")
    assert swapped["major_faults"] > 0
    assert swapped == totals("--machine", "memory_bytes=2M")
    assert totals("--machine", "limit_as_bytes=4M")["failed_requests"] > 0


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("memory=2M", "a machine has no 'memory'; did you mean"),
        ("vma_locks=perhaps", "vma_locks: 'perhaps' is neither true nor false"),
        ("cpus=many", "cpus: 'many' is no size or number"),
        ("cpus=0", "cpus: must be at least 1, not 0"),
        ("huge_pages=often", "unknown value 'often'; allowed: never, madvise, always"),
        ("absent.toml", "absent.toml: cannot be read"),
    ],
)
def test_what_is_wrong_is_said(entry, message):
    with pytest.raises(InputError, match=message):
        machine_from_text([entry])


@pytest.mark.parametrize("text", ["memory_bytes = 5\n", "[kernel]\ncpus = 2\n", "costs = 3\n"])
def test_a_wrong_file_is_refused_with_its_line(tmp_path, text):
    file = tmp_path / "m.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"m\.toml:1: "):
        machine_from_text([str(file)])


def test_check_takes_a_machine():
    ended = CliRunner().invoke(app, ["check", "best_fit", "--no-compile", "--memory", "4096K"])
    assert ended.exit_code == 0, ended.output
