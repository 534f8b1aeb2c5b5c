"""All shipped policies pass the whole suite."""

import pytest

from allocsim.check import CHECK_NAMES, Outcome, check_policy
from allocsim.glibc import Glibc
from allocsim.policy import load_policy, policy_names

PASSED_ALL = dict.fromkeys(CHECK_NAMES, Outcome.PASSED)
COMPILED = ("glibc", "first_fit", "next_fit", "best_fit")
NOT_COMPILED = PASSED_ALL | {"interpreted equals compiled": Outcome.NOTED}


def outcomes(policy, **options):
    return {result.name: result.outcome for result in check_policy(policy, **options)}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_shipped_policies_pass_every_check(name):
    assert outcomes(load_policy(name)) == PASSED_ALL


@pytest.mark.parametrize("name", sorted({*policy_names()} - {*COMPILED}))
def test_others_pass_the_checks_of_interpreted_runs(name):
    assert outcomes(load_policy(name), compiles=False) == NOT_COMPILED


@pytest.mark.parametrize("version", [2.41, 2.43])
def test_glibc_passes_in_later_versions(version):
    assert outcomes(Glibc, compiles=False, version=version) == NOT_COMPILED
