"""GLIBC_TUNABLES and MALLOC_ variables are read as the real loader reads them."""

import re
import subprocess
from pathlib import Path

import pytest

from allocsim.glibc.environment import parameters_from_environment, parameters_from_tunables
from allocsim.glibc.tunables import LARGEST_BYTES
from allocsim.ground_truth.libc_packages import libc_for

TOP_PAD = 131_072

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
    {"GLIBC_TUNABLES": "glibc.malloc.arena_max=4:nonsense"},
    {"GLIBC_TUNABLES": "nonsense:glibc.malloc.arena_max=4"},
    {"GLIBC_TUNABLES": "glibc.malloc.arena_max=4:", "MALLOC_ARENA_MAX": "9"},
    {"GLIBC_TUNABLES": ":glibc.malloc.arena_max=4::=3:foo=1:glibc.malloc.perturb=7x"},
    {"GLIBC_TUNABLES": "glibc.malloc.arena_max=4:glibc.malloc.arena_max=x"},
    {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=99999999999999999999"},
    {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=-1:glibc.malloc.mmap_max=4294967301"},
    {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=-2147483649:glibc.malloc.top_pad=25 "},
    {"MALLOC_ARENA_MAX": "7k", "MALLOC_TRIM_THRESHOLD_": "\t+9"},
]


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_equal_to_the_loader(version, environment):
    ours = parameters_from_environment(environment, version)
    found = _as_loaded(environment, loader_of(version))
    if found.get("top_pad") == TOP_PAD:  # later versions list it where nothing sets it, too
        del found["top_pad"]
    assert {name: value for name, value in ours.items() if value} == found


def loader_of(version: float) -> Path:
    folder = libc_for(str(version))
    return folder / "ld-linux-x86-64.so.2" if folder else Path("/lib64/ld-linux-x86-64.so.2")


def _as_loaded(environment: dict[str, str], loader: Path) -> dict[str, int]:
    """The malloc tunables that are not 0, as the loader lists them, cut to what we hold."""
    command = [str(loader), "--list-tunables"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    found = re.findall(r"^glibc\.malloc\.(\w+): (\w+) ", done.stdout, re.M)
    return {name: min(int(value, 0), LARGEST_BYTES) for name, value in found if int(value, 0)}


def test_a_whole_assignment_may_be_given():
    text = "GLIBC_TUNABLES=glibc.malloc.arena_max=2:glibc.rtld.nns=4"
    assert parameters_from_tunables(text) == {"arena_max": 2}


def test_huge_values_are_cut_to_what_parameters_hold():
    assert parameters_from_tunables("glibc.malloc.trim_threshold=-1") == {"trim_threshold": 2**62}
