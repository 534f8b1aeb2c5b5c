"""The referee and the conformance suite catch policies that break a rule, each a different one."""

import re
import shlex
from functools import cache
from typing import ClassVar

import pytest

from allocsim import Kind, Policy, Pool, load_policy
from allocsim.check import FoulError, Outcome, check_policy, refereed
from allocsim.check.command import command, lines_of
from allocsim.check.rules import RULES
from allocsim.check.shrink import few_ops
from allocsim.check.workloads import mixed
from allocsim.driver import driver_for
from allocsim.simulation import simulate
from allocsim.trace import Op, Trace


class Stack(Policy):
    """Sound but wasteful: every block comes from the break, with its size before it."""

    def malloc(self, size):
        at = self.kernel.sbrk((size + 31) & -16)
        if at < 0:
            return 0
        self.kernel.store(at, size)
        return at + 16

    def free(self, address):
        self.kernel.store(address - 8, 1)

    def usable_size(self, address):
        return self.kernel.load(address - 16)


class LastBlockAgain(Stack):
    """Gives the last freed block again, if it is large enough."""

    freed = 0

    def malloc(self, size):
        at = self.freed
        if at != 0 and self.usable_size(at) >= size:
            self.freed = 0
            return at
        return super().malloc(size)

    def free(self, address):
        self.freed = address


class Overlapping(LastBlockAgain):
    """Thinks that a block is free as soon as it was given."""

    def malloc(self, size):
        self.freed = super().malloc(size)
        return self.freed


class Misaligned(Stack):
    def malloc(self, size):
        return super().malloc(size + 8) + 8


class TooSmall(Stack):
    def usable_size(self, address):
        return super().usable_size(address) - 1


class Unmapped(Stack):
    def malloc(self, size):
        at = super().malloc(size)
        return at + (1 << 30) if size > 2000 else at


class DirtyCalloc(LastBlockAgain):
    def calloc(self, size):
        return self.malloc(size)


class Scribbling(Stack):
    """Counts its blocks in the first word of each: the program's memory."""

    def malloc(self, size):
        at = super().malloc(size)
        if size >= 8:
            self.kernel.store(at, 1)
        return at

    def free(self, address):
        self.kernel.store(address + 32, 0)


class ForgetfulRealloc(Stack):
    def realloc(self, address, size):
        self.free(address)
        return self.malloc(size)


class SizeInsideBlock(Stack):
    """Trusts a word that the program may overwrite."""

    spacing = 0

    def malloc(self, size):
        at = super().malloc(size + 8 + 16 * (self.spacing & 1))
        self.kernel.store(at, 0)
        return at

    def free(self, address):
        self.spacing += self.kernel.load(address) & 1


class Drifting(Stack):
    runs: ClassVar[list[int]] = []

    def setup(self):
        Drifting.runs.append(1)

    setup.host_only = True

    def malloc(self, size):
        return super().malloc(size + 16 * len(self.runs))


class LyingWalk(Stack):
    def walk(self):
        self.ranges.add(self.kernel.start_brk, 1 << 20, Kind.USED)
        self.ranges.add(self.kernel.start_brk + 4096, 4096, Kind.FREE)


class NeverFree(Stack):
    def walk(self):
        size = self.kernel.break_ - self.kernel.start_brk
        self.ranges.add(self.kernel.start_brk, size, Kind.USED)


class Crashing(Stack):
    def free(self, address):
        self.kernel.load(8)


class PoolOutside(Stack):
    sizes = Pool("i8", 1 << 20)


class DictOutside(Stack):
    def malloc(self, size):
        at = super().malloc(size)
        if not hasattr(self, "known"):
            self.known = {}
        self.known[at] = size
        return at


FOULS = {
    Overlapping: "no overlap",
    Misaligned: "alignment",
    TooSmall: "usable size",
    Unmapped: "mapped memory",
    DirtyCalloc: "calloc is zero",
    Scribbling: "contents survive",
    ForgetfulRealloc: "realloc keeps contents",
}
OTHERS = {
    Crashing: "runs",
    Stack: "survives exhaustion",
    SizeInsideBlock: "poison changes nothing",
    Drifting: "same inputs, same result",
    LyingWalk: "walk is consistent",
    NeverFree: "nothing left live",
}


@cache
def outcomes(policy: type[Policy]) -> dict[str, tuple[Outcome, str]]:
    return {r.name: (r.outcome, r.detail) for r in check_policy(policy, compiles=False)}


@pytest.mark.parametrize("policy", FOULS, ids=lambda p: p.__name__)
def test_the_referee_stops_a_run_at_the_first_foul(policy):
    with pytest.raises(FoulError, match=rf"op \d+ \(\w+\): {FOULS[policy]}: {policy.__name__}\."):
        simulate(mixed(), policy, referee=True)


@pytest.mark.slow
@pytest.mark.parametrize("policy", FOULS | OTHERS, ids=lambda p: p.__name__)
def test_the_suite_names_the_broken_rule(policy):
    outcome, detail = outcomes(policy)[(FOULS | OTHERS)[policy]]
    assert outcome is Outcome.FAILED
    assert detail


def test_a_sound_policy_breaks_no_rule_of_the_referee():
    found = outcomes(Stack)
    assert {name for name, (outcome, _) in found.items() if outcome is Outcome.FAILED} == {
        "survives exhaustion"
    }


def test_a_refereed_run_has_the_results_of_a_plain_one():
    totals = []
    for make in (driver_for, refereed):
        result = simulate(mixed(), load_policy("best_fit"), make_driver=make, mode="interpreted")
        totals.append({k: v for k, v in result.totals.items() if v == v})
    assert totals[0] == totals[1]


def test_contents_survive_a_realloc_that_moves_by_mremap():
    class ByMapping(Policy):
        def malloc(self, size):
            at = self.kernel.mmap(size + 16)
            if at > 0:
                self.kernel.store(at, size)
            return at + 16 if at > 0 else 0

        def free(self, address):
            self.kernel.munmap(address - 16, self.usable_size(address) + 16)

        def usable_size(self, address):
            return self.kernel.load(address - 16)

        def realloc(self, address, size):
            old = self.usable_size(address) + 16
            at = self.kernel.mremap(address - 16, old, size + 16)
            self.kernel.store(at, size)
            return at + 16

    trace = Trace.of(
        [Op.MALLOC, Op.MALLOC, Op.REALLOC, Op.REALLOC, Op.FREE],
        [0, 1, 0, 0, 0],
        [9000, 9000, 90_000, 5000, 0],
    )
    assert simulate(trace, ByMapping, referee=True).totals["mremap_calls"] == 2


@pytest.mark.parametrize("policy", [PoolOutside, DictOutside], ids=lambda p: p.__name__)
def test_metadata_outside_simulated_memory_is_noted_as_idealized(policy):
    outcome, detail = outcomes(policy)["metadata is simulated"]
    assert outcome is Outcome.NOTED
    assert detail.startswith(f"idealized: {policy.__name__}.")


def test_a_known_failure_with_a_reason_is_expected():
    class Known(Stack):
        expected_failures: ClassVar[dict[str, str]] = {"survives exhaustion": "keeps nothing"}

    assert outcomes(Known)["survives exhaustion"] == (Outcome.EXPECTED, "keeps nothing")


@pytest.mark.parametrize(
    ("name", "reason", "said"),
    [
        ("survives exhaustion", " ", "without a reason"),
        ("alignment", "thought so", "but it does not"),
        ("no such thing", "a typo", "no such check"),
    ],
)
def test_an_expectation_must_be_explained_and_hold(name, reason, said):
    class Wrong(Stack):
        expected_failures: ClassVar[dict[str, str]] = {name: reason}

    outcome, detail = outcomes(Wrong)[name]
    assert outcome is Outcome.FAILED
    assert said in detail


def test_after_an_overlap_the_other_rules_are_judged_up_to_there():
    found = outcomes(Overlapping)
    assert found["runs"][0] is Outcome.PASSED
    outcome, detail = found["no overlap"]
    assert outcome is Outcome.FAILED
    assert re.match(
        r"op \d+, Overlapping\.\w+: 0x\w+, [\d,]+ bytes, overlaps another block \(0x", detail
    )
    assert re.search(r"live since op \d+\)$", detail)


def test_rules_are_not_called_kept_beyond_a_crash():
    found = outcomes(Crashing)
    assert found["runs"][0] is Outcome.FAILED
    assert found["alignment"][0] is Outcome.NOTED


def test_the_command_tells_by_its_exit_code(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("best_fit", compiles=False) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "15 checks, 0 failed"
    file = tmp_path / "nothing.py"
    file.write_text(
        "from allocsim import Policy\nclass Nothing(Policy):\n"
        "    def malloc(self, size): return 8\n    def free(self, address): pass\n"
    )
    assert command(str(file), compiles=False) == 1
    assert "8 is not a multiple of 16" in capsys.readouterr().out


def test_a_broken_rule_is_shown_by_a_few_ops_that_can_be_run_again():
    rule, trace = few_ops(Overlapping)
    assert rule == "no overlap"
    assert len(trace) < 5
    with pytest.raises(FoulError, match="no overlap: Overlapping"):
        simulate(trace, Overlapping, referee=True)
    assert few_ops(Stack) is None


def test_the_command_stores_these_ops(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.py").write_text(
        "from allocsim import Policy\nclass Bad(Policy):\n"
        "    def malloc(self, size): return max(self.kernel.sbrk(size), 0)\n"
        "    def free(self, address): pass\n    def usable_size(self, address): return 1\n"
    )
    assert command("bad.py", compiles=False) == 1
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if " ops show it: " in line)
    assert lines[at - 1].split("  ")[0] in RULES
    file = lines[at].split()[4]
    assert (tmp_path / file).read_text().startswith("op,thread,object,size,")
    again = shlex.split(lines[at + 1].removeprefix("  again: "))
    with pytest.raises(FoulError):
        simulate(str(tmp_path / again[2]), load_policy("bad.py"), referee=True)


def test_the_table_is_aligned():
    lines = lines_of(check_policy(Stack, compiles=False))
    column = len("interpreted equals compiled  ")
    assert all(line[column:].startswith(tuple(Outcome)) for line in lines)
    assert all(line[column - 1] == " " for line in lines)
