"""Results depend on the code that makes them, and on no other."""

from pathlib import Path

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
