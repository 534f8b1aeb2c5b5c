"""GLIBC_TUNABLES and MALLOC_ variables are read as the real loader reads them."""

import re
import subprocess
from pathlib import Path

import pytest

from allocsim.glibc.environment import parameters_from_environment, parameters_from_tunables

LOADER = Path("/lib64/ld-linux-x86-64.so.2")

ENVIRONMENTS = [
    {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4096k"},
    {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=0x1000:glibc.malloc.mmap_threshold=7"},
    {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=010"},
    {"GLIBC_TUNABLES": "glibc.malloc.perturb=256:glibc.malloc.arena_max=0"},
    {"GLIBC_TUNABLES": "glibc.malloc.perturb= 25"},
    {"GLIBC_TUNABLES": "nonsense:glibc.malloc.perturb=25=3:glibc.malloc.arena_max=4"},
    {"GLIBC_TUNABLES": "glibc.malloc.perturb"},
    {"GLIBC_TUNABLES": "glibc.malloc.arena_max=4", "MALLOC_ARENA_MAX": "7"},
    {"GLIBC_TUNABLES": "glibc.malloc.arena_max=0", "MALLOC_ARENA_MAX": "7"},
    {"MALLOC_ARENA_TEST": "7", "MALLOC_MMAP_MAX_": "-1", "MALLOC_PERTURB_": "5"},
    {"MALLOC_MMAP_THRESHOLD_": "+12", "MALLOC_TOP_PAD_": "08", "MALLOC_TRIM_THRESHOLD_": "0x1F"},
    {"GLIBC_TUNABLES": "glibc.malloc.arena_max=0x10g:glibc.malloc.tcache_max=019"},
]


@pytest.mark.skipif(not LOADER.exists(), reason="no glibc loader to compare with")
@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_equal_to_the_loader(environment):
    ours = parameters_from_environment(environment)
    assert {name: value for name, value in ours.items() if value} == _as_loaded(environment)


def _as_loaded(environment: dict[str, str]) -> dict[str, int]:
    """The malloc tunables that are not 0, as the loader lists them."""
    command = [str(LOADER), "--list-tunables"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("this loader cannot list tunables")
    found = re.findall(r"^glibc\.malloc\.(\w+): (\w+) ", done.stdout, re.M)
    return {name: int(value, 0) for name, value in found if int(value, 0)}


def test_a_whole_assignment_may_be_given():
    text = "GLIBC_TUNABLES=glibc.malloc.arena_max=2:glibc.rtld.nns=4"
    assert parameters_from_tunables(text) == {"arena_max": 2}


def test_huge_values_are_cut_to_what_parameters_hold():
    assert parameters_from_tunables("glibc.malloc.trim_threshold=-1") == {"trim_threshold": 2**62}
