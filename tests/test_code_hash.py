"""Results depend on the code that makes them, and on no other."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

import allocsim
from allocsim import code_hash as hashes
from allocsim.policy import load_policy

PACKAGE = Path(allocsim.__file__).parent


@pytest.fixture
def altered(monkeypatch):
    """Whether the simulation's hash changes with one more line in a module of allocsim."""
    before = hashes.code_hash("allocsim.simulation")

    def alter(module: str) -> bool:
        path = PACKAGE / module
        monkeypatch.setattr(
            hashes, "_source", lambda p: p.read_bytes() + b"# altered\n" * (p == path)
        )
        return hashes.code_hash.__wrapped__("allocsim.simulation") != before

    return alter


@pytest.mark.parametrize(
    "module", ["driver.py", "kernel/pages.py", "kernel/swap.py", "engine/run.py", "metrics.py"]
)
def test_what_a_simulation_imports_counts(altered, module):
    assert altered(module)


@pytest.mark.parametrize(
    "module", ["figures/tradeoff.py", "experiment/table.py", "cli/__init__.py", "claims/spec.py"]
)
def test_what_it_does_not_import_does_not(altered, module):
    assert (PACKAGE / module).is_file()
    assert not altered(module)


def test_a_policys_hash_covers_the_modules_of_allocsim_behind_it():
    glibc, best_fit = load_policy("glibc"), load_policy("best_fit")
    assert "allocsim.glibc.bins" not in hashes._sources_of(best_fit)[1]
    assert hashes._sources_of(best_fit)[1] >= {"allocsim.boundary_tags", "allocsim.policy"}
    assert hashes.policy_hash(glibc) != hashes.policy_hash(best_fit)


SESSION = """
from allocsim import Param, Policy

STEP = 16

def rounded(size):
    return (size + STEP - 1) & -STEP

class Mine(Policy):
    at = 0
    reserve = Param(4096, "bytes")

    def malloc(self, size):
        if size in {"a", "b", "c"}:
            return 0
        return self.kernel.mmap(rounded(size) + self.reserve)
"""


@pytest.fixture
def session(monkeypatch):
    """Runs cells in a module without a file, and gives the hash of the class that they define."""
    module = ModuleType("session_of_a_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def run(cell: str) -> str:
        exec(cell, vars(module))
        return hashes.policy_hash(module.Mine)

    return run


def test_a_class_of_a_session_counts_by_its_code(session):
    first = session(SESSION)
    assert session(SESSION) == first
    assert session(SESSION.replace("    at = 0", '    """Described."""\n\n    at = 0')) == first
    others = [
        session(SESSION.replace(old, new))
        for old, new in [
            ("at = 0", "at = 1"),
            ("4096", "8192"),
            ("return 0", "return 1"),
            ("STEP = 16", "STEP = 32"),
            ("STEP - 1)", "STEP)"),
            ("class Mine(Policy)", "class Base(Policy):\n    new = 1\n\nclass Mine(Base)"),
        ]
    ]
    assert len({first, *others}) == 1 + len(others)


def test_a_value_that_changes_in_the_session_counts(session):
    first = session(SESSION)
    assert session("STEP = 64") != first
    assert session("STEP = 16") == first
