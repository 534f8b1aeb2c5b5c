"""Machines with less: each command works, or says in one line what it needs."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from allocsim.cache import make_cache_folder

REAL = {
    "record": ("-o", "true.parquet", "--", "/bin/true"),
    "verify": ("buffers",),
    "measure": ("buffers",),
    "validate": ("buffers",),
    "calibrate": ("-o", "costs.toml"),
}
"""Commands that run real programs."""

MAIN = "from allocsim.cli import main; main()"

SMALL = """
[[policies]]
use = "first_fit"
[[workloads]]
use = "churn"
ops = 200
"""


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.chdir(tmp_path)


def macos(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")


def aarch64(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")


def musl(monkeypatch):
    def confstr(name):
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "confstr", confstr)


def no_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")


def cache_of_others(monkeypatch):
    make_cache_folder("built").chmod(0o777)


def cache_that_takes_nothing(monkeypatch):
    Path("cache").write_text("a file")


@pytest.mark.parametrize("command", REAL)
@pytest.mark.parametrize(
    ("machine", "needs"),
    [
        (macos, "needs Linux on x86-64, and this is Darwin on arm64"),
        (aarch64, "needs Linux on x86-64, and this is Linux on aarch64"),
        (musl, "needs the GNU C library"),
        (no_compiler, "needs a C compiler"),
        (cache_of_others, "other users can write to this cache"),
        (cache_that_takes_nothing, "is no folder; set ALLOCSIM_CACHE"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_runs_real_programs_says_what_it_needs(
    allocsim_here, monkeypatch, tmp_path, command, machine, needs
):
    machine(monkeypatch)
    code, output, errors = allocsim_here(command, *REAL[command])
    assert (code, output) == (2, "")
    assert errors.startswith("error: ")
    assert needs in errors
    assert errors.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}


def as_macos(*arguments):
    script = Path(__file__).with_name("as_macos.py")
    return subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )


def test_simulating_works_on_macos():
    done = as_macos("simulate", "buffers", "--policy", "first_fit")
    assert (done.returncode, done.stderr) == (0, "")
    assert "external fragmentation" in done.stdout


def test_recording_does_not_work_on_macos():
    done = as_macos("record", "-o", "true.parquet", "--", "/bin/true")
    assert (done.returncode, done.stdout) == (2, "")
    assert "record needs Linux on x86-64" in done.stderr


@pytest.mark.slow
def test_experiments_and_figures_work_on_macos(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    done = as_macos("run", "small.toml", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    done = as_macos("figures", "results/small")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "results" / "small").rglob("*.png"))


def test_simulating_goes_on_without_a_cache_that_others_can_write_to(tmp_path):
    make_cache_folder("compiled").chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "simulate", "buffers", "--policy", "first_fit"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr.startswith("warning: ")
    assert "chmod go-w" in done.stderr
    assert done.stderr.count("\n") == 1
