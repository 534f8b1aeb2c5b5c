"""What runs need is compiled beside them, once for all policies that share it."""

import time

import pytest

from allocsim.compile_ahead import Code, CompileAhead, codes_that_pay, distinct
from allocsim.machine import Machine
from allocsim.runspec import RunSpec
from allocsim.simulation import simulate
from allocsim.workload import load_workload


def test_policies_that_differ_in_defaults_share_code():
    names = ("glibc", "mmap_only", "brk_only", "best_fit")
    assert distinct(Code(name, Machine()) for name in names) == [
        Code("glibc", Machine()), Code("best_fit", Machine())
    ]  # fmt: skip
    assert len(distinct(Code("glibc", Machine(**m)) for m in ({}, {"memory_bytes": 1 << 20}))) == 2
    assert len(distinct(Code("glibc", Machine(), threaded) for threaded in (False, True))) == 2
    assert len(distinct(Code("glibc", Machine(cpus=n)) for n in (1, 2))) == 1


def test_only_code_pays_whose_runs_are_long_together(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path))
    mine = tmp_path / "mine.py"  # of which this process has loaded nothing
    mine.write_text(PAGES)
    specs = [(RunSpec("churn", str(mine), seed=seed), 1_400_000, False) for seed in (1, 2)]
    short = (RunSpec("churn", "best_fit"), 200_000, False)
    assert codes_that_pay([*specs, short]) == []
    found = codes_that_pay([*specs, (RunSpec("jq", str(mine)), 300_000, False), short])
    assert found == [Code(str(mine), Machine())]
    refereed = (RunSpec("churn", str(mine), referee=True), 10**9, False)
    assert codes_that_pay([refereed]) == []


def test_glibc_with_other_defaults_is_what_the_defaults_make_it():
    trace = next(iter(load_workload("churn", 3).batches(5000)))
    for name, parameters in (("mmap_only", {"mmap_threshold": 0, "mmap_max": 2**31 - 1}),
                             ("brk_only", {"mmap_max": 0})):  # fmt: skip
        plain = simulate(trace, "glibc", parameters=parameters, mode="interpreted")
        named = simulate(trace, name, mode="interpreted")
        assert named.totals == pytest.approx(plain.totals, nan_ok=True)
        assert named.provenance["policy"] == name


@pytest.mark.slow
def test_a_run_goes_on_compiled_when_its_code_arrives(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path))
    policy = tmp_path / "mine.py"
    policy.write_text(PAGES)
    trace = next(iter(load_workload("churn", 3).batches(60_000)))
    compiling = CompileAhead([Code(str(policy), Machine())], jobs=1)

    def wait_in_the_middle(done, _total):
        if done > 20_000:
            assert not [found.refused for found in compiling.results() if found.refused]

    result = simulate(trace, str(policy), progress=wait_in_the_middle)
    compiling.close()
    assert result.provenance["compiled"]
    plain = simulate(trace, str(policy), mode="interpreted")
    assert result.totals == pytest.approx(plain.totals, nan_ok=True)
    assert result.samples["time_ns"].tolist() == plain.samples["time_ns"].tolist()


PAGES = """
from allocsim import Policy


class Pages(Policy):
    def malloc(self, size):
        length = (size + 4111) & -4096
        start = self.kernel.mmap(length)
        if start > 0:
            self.kernel.store(start, length)
        return start + 16 if start > 0 else 0

    def free(self, address):
        self.kernel.munmap(address - 16, self.kernel.load(address - 16))

    def usable_size(self, address):
        return self.kernel.load(address - 16) - 16
"""


@pytest.mark.slow
def test_what_is_compiled_ends_with_close(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path))
    compiling = CompileAhead([Code("glibc", Machine()), Code("best_fit", Machine())], jobs=1)
    started = time.monotonic()
    compiling.close()
    assert time.monotonic() - started < 15
    assert not any(tmp_path.rglob("*.so"))


def test_what_cannot_be_compiled_is_said(tmp_path):
    compiling = CompileAhead([Code(str(tmp_path / "absent.py"), Machine())], jobs=1)
    [found] = compiling.results()
    assert "No such file" in found.refused
