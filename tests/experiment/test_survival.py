"""Sweeps that are killed, end together or find no room: afterwards the tables are the same.

ALLOCSIM_ROUNDS sets how many random moments are tried: 2 by default, so that this takes seconds.
"""

import io
import multiprocessing
import os
import random
import resource
import signal
import time

import pytest
from rich.console import Console

from allocsim.experiment import store
from allocsim.experiment.command import run_command
from allocsim.experiment.store import StoreError

pytestmark = pytest.mark.slow
ROUNDS = int(os.environ.get("ALLOCSIM_ROUNDS", "2"))
DONE, REFUSED, NO_ROOM = 0, 3, 4
"""How a sweep ends: all ran; another one was writing; the disk was full."""
TABLES = ("runs.parquet", "index.sqlite")
SPEC = """\
name = "tiny"
repeats = 4
samples = 16
policies = ["bump.py"]

[[workloads]]
name = "steady"
ops = 50
sizes = { distribution = "choice", sizes = [64] }

[grid]
threshold = [1, 10, 100]
pad = [1, 2]
"""


@pytest.fixture
def experiment(experiment_file):
    """24 short runs; this process has made them once, so that its children start at once."""
    experiment_file.write_text(SPEC)
    folder = experiment_file.parent / "warm-up" / "out"
    assert run_command(str(experiment_file), folder, 1, False, Console(file=io.StringIO())) == DONE
    return experiment_file


@pytest.fixture
def start(experiment):
    """Starts a sweep in a folder, in a process of its own; no file gets larger than allowed."""

    def call(folder, max_file_bytes=resource.RLIM_INFINITY):
        arguments = (str(experiment), folder, max_file_bytes)
        process = multiprocessing.get_context("fork").Process(target=sweep, args=arguments)
        process.start()
        return process

    return call


def sweep(experiment, folder, max_file_bytes):
    """Runs the experiment with many small segments, and ends this process."""
    store._FLUSH_AFTER_S, store._MANY_SMALL = 0.01, 3
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, resource.RLIM_INFINITY))
    try:
        code = run_command(experiment, folder, 1, False, Console(file=io.StringIO()))
    except StoreError as error:
        code = REFUSED if "another sweep" in str(error) else NO_ROOM
    os._exit(code)


def finished(*sweeps):
    """The exit codes of sweeps."""
    for process in sweeps:
        process.join(120)
    return [process.exitcode for process in sweeps]


def tables(folder):
    return {name: (folder / name).read_bytes() for name in TABLES}


def leftovers(folder):
    return [path for path in folder.rglob(".*") if path.name != ".lock"]


@pytest.fixture
def undisturbed(start, tmp_path):
    """The tables of a sweep that nothing disturbs, and the seconds that it takes."""
    started = time.monotonic()
    assert finished(start(tmp_path / "undisturbed" / "out")) == [DONE]
    return tables(tmp_path / "undisturbed" / "out"), time.monotonic() - started


def test_killed_at_any_moment(start, undisturbed, tmp_path):
    expected, seconds = undisturbed
    dice = random.Random(ROUNDS)
    for turn in range(ROUNDS):
        folder = tmp_path / f"killed-{turn}" / "out"
        process = start(folder)
        time.sleep(dice.uniform(0, seconds))
        os.kill(process.pid, signal.SIGKILL)
        assert finished(process)[0] in (-signal.SIGKILL, DONE)
        assert finished(start(folder)) == [DONE]
        assert tables(folder) == expected and leftovers(folder) == [], turn


def test_two_that_end_at_once(start, undisturbed, tmp_path):
    expected, seconds = undisturbed
    dice = random.Random(ROUNDS)
    for turn in range(ROUNDS):
        folder = tmp_path / f"raced-{turn}" / "out"
        first = start(folder)
        time.sleep(dice.uniform(0.5, 1.2) * seconds)
        codes = finished(first, start(folder))
        assert codes[0] == DONE and codes[1] in (DONE, REFUSED), turn
        assert tables(folder) == expected and leftovers(folder) == [], turn


def test_two_in_folders_side_by_side(start, undisturbed, tmp_path):
    expected, _ = undisturbed
    for turn in range(ROUNDS):
        folders = [tmp_path / f"beside-{turn}" / name for name in ("one", "other")]
        assert finished(*map(start, folders)) == [DONE] * 2
        assert [tables(folder) for folder in folders] == [expected] * 2, turn


def test_files_that_cannot_grow_any_more(start, undisturbed, tmp_path):
    expected, _ = undisturbed
    largest = max(map(len, expected.values()))
    dice = random.Random(ROUNDS)
    for turn in range(ROUNDS):
        folder = tmp_path / f"full-{turn}" / "out"
        assert finished(start(folder, dice.randrange(largest))) == [NO_ROOM], turn
        assert finished(start(folder)) == [DONE]
        assert tables(folder) == expected and leftovers(folder) == [], turn
