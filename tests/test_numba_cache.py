"""Loops that numba compiles: kept in the cache, found again, made anew when a cause changes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import allocsim

MODULE = """
import numpy as np
FACTOR = {factor}
WEIGHTS = np.array([{weight}])

def total(values):
    found = 0
    for value in values:
        found += FACTOR * WEIGHTS[0] * value
    return found
"""
SCRIPT = """
import importlib.util, json, sys
import numpy as np
from numba.core import event
spec = importlib.util.spec_from_file_location("allocsim.loop", sys.argv[1])
sys.modules["allocsim.loop"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for setting in sys.argv[2:]:
    exec(setting, vars(module))
from allocsim.numba_cache import njit_cached
with event.install_recorder("numba:compile") as recorder:
    answer = njit_cached(module.total)(np.arange(5))
print(json.dumps([int(answer), len(recorder.buffer) > 0]))
"""


class Loops:
    """A module with a loop, and a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.module = folder / "cache", folder / "loop.py"
        self.module.write_text(MODULE.format(factor=1, weight=1))

    def run(self, *settings: str) -> tuple[int, bool]:
        """The sum, and whether anything was compiled for it: of a new process."""
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(self.module), *settings],
            env=os.environ | {"ALLOCSIM_CACHE": str(self.cache)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        total, compiled = json.loads(done.stdout)
        return total, compiled

    def files(self) -> list[Path]:
        return list((self.cache / "loops").iterdir())


@pytest.fixture
def loops(tmp_path: Path) -> Loops:
    return Loops(tmp_path)


def test_a_second_process_finds_the_loop(loops):
    assert loops.run() == (10, True)
    assert loops.run() == (10, False)


@pytest.mark.slow
def test_a_changed_source_or_constant_renews_the_loop(loops):
    assert loops.run() == (10, True)
    assert loops.run("FACTOR = 2") == (20, True), "as if imported from another file"
    assert loops.run("WEIGHTS = np.array([3])") == (30, True)
    loops.module.write_text(MODULE.format(factor=4, weight=1))
    assert loops.run() == (40, True)
    loops.module.write_text(MODULE.format(factor=1, weight=1))
    assert loops.run() == (10, False)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "empty", "writable"])
def test_a_damaged_loop_is_made_again(loops, damage):
    loops.run()
    (file,) = loops.files()
    if damage == "writable":
        file.chmod(0o666)
    else:
        file.write_bytes(file.read_bytes()[:100] if damage == "cut" else b"")
    assert loops.run() == (10, True)
    assert loops.run() == (10, False)


@pytest.mark.slow
def test_where_nothing_can_be_kept_the_loop_runs_all_the_same(loops):
    loops.cache.write_text("a file, not a folder")
    assert loops.run() == (10, True)


@pytest.mark.slow
def test_the_packages_loops_are_kept_in_the_cache(tmp_path):
    script = (
        "from allocsim.workload import from_spec;"
        "sizes = {'distribution': 'uniform', 'low': 1, 'high': 3000};"
        "work = {'ops': 20_000, 'live_objects': 10, 'sizes': sizes};"
        "print(sum(len(batch) for batch in from_spec(work, seed=1).batches()))"
    )
    package = Path(allocsim.__file__).parent
    before = {path: path.stat().st_mtime_ns for path in package.rglob("*.nb[ic]")}
    subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"ALLOCSIM_CACHE": str(tmp_path)}, check=True, capture_output=True,
    )  # fmt: skip
    assert any((tmp_path / "loops").iterdir())
    assert {path: path.stat().st_mtime_ns for path in package.rglob("*.nb[ic]")} == before
