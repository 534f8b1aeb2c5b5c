"""Policies that crash, or do not come to an end, fail their check in one line."""

import os
import signal
import time

import pytest

from allocsim import Policy
from allocsim.check import Outcome, check_policy, conformance
from allocsim.check.isolation import Limits

ENDLESS = "not tried after what did not end"


class Bump(Policy):
    def malloc(self, size):
        at = self.kernel.sbrk((size + 15) & -16)
        return max(at, 0)

    def free(self, address):
        pass


class Endless(Bump):
    def free(self, address):
        while address != 0:
            address |= 1


class Sleeping(Bump):
    def free(self, address):
        time.sleep(1000)


class Eating(Bump):
    def free(self, address):
        self.eaten = [bytearray(os.urandom(1)) * (1 << 20) for _ in range(1 << 20)]


class Segfault(Bump):
    def free(self, address):
        os.kill(os.getpid(), signal.SIGSEGV)


class Quitting(Bump):
    def free(self, address):
        raise SystemExit(3)


class Recursive(Bump):
    def free(self, address):
        self.free(address + 1)


def outcomes(policy):
    only = ["runs", "same inputs, same result", "nothing left live", "walk is consistent"]
    return {r.name: (r.outcome, r.detail) for r in check_policy(policy, only=only)}


@pytest.fixture
def short_limits(monkeypatch):
    monkeypatch.setattr(conformance, "LIMITS", Limits(op_s=0.5, memory_bytes=256 << 20))


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Endless, "no end after 0.5 s"),
        (Sleeping, "no end after 0.5 s"),
        (Eating, "more than 0.25 GiB of memory used"),
    ],
    ids=lambda p: getattr(p, "__name__", ""),
)
@pytest.mark.usefixtures("short_limits")
def test_what_does_not_end_fails_with_its_operation_and_ends_the_suite(policy, said):
    found = outcomes(policy)
    outcome, detail = found["runs"]
    assert outcome is Outcome.FAILED
    assert detail.startswith("op ")
    assert detail.split(", ", 1)[1].startswith("free(0x")
    assert detail.endswith(said)
    assert found["walk is consistent"] == (Outcome.NOTED, ENDLESS)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Segfault, "killed by SIGSEGV"),
        (Quitting, "ended the process, with exit code 3"),
        (Recursive, "RecursionError"),
    ],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_a_crash_fails_its_check_and_the_others_go_on(policy, said):
    found = outcomes(policy)
    for name in ("runs", "same inputs, same result", "nothing left live"):
        outcome, detail = found[name]
        assert outcome is Outcome.FAILED
        assert said in detail
        assert "\n" not in detail
    assert found["walk is consistent"][0] is Outcome.NOTED


def test_children_are_gone_afterwards():
    check_policy(Bump, only=["walk is consistent"])
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
