import pytest

from allocsim import Param, Policy
from allocsim.errors import InputError
from allocsim.experiment.settings import Settings
from allocsim.glibc import Glibc, MmapOnly


class Bump(Policy):
    step = Param(4096, "bytes", 16, 1 << 30, "what the break moves by")

    def malloc(self, size):
        return self.kernel.sbrk((size + self.step) & -16)

    def free(self, address):
        pass


def test_a_pair_wins_over_tunables_and_those_over_variables():
    settings = Settings(
        pairs=("mmap_threshold=64K",),
        tunables="glibc.malloc.mmap_threshold=1:glibc.malloc.arena_max=3:glibc.rtld.nns=4",
        variables=("MALLOC_ARENA_MAX=2", "MALLOC_TOP_PAD_=0x1000"),
        cpus=16,
    )
    assert settings.parameters(Glibc) == {
        "mmap_threshold": 65536,
        "arena_max": 3,
        "top_pad": 4096,
        "cpus": 16,
    }


def test_strings_of_tunables_are_joined_for_the_real_program():
    settings = Settings(
        tunables="GLIBC_TUNABLES=glibc.malloc.arena_max=1",
        variables=("GLIBC_TUNABLES=glibc.malloc.perturb=3", "MALLOC_ARENA_TEST=4"),
    )
    assert settings.environment() == {
        "GLIBC_TUNABLES": "glibc.malloc.perturb=3:glibc.malloc.arena_max=1",
        "MALLOC_ARENA_TEST": "4",
    }
    assert Settings().environment() == {}


def test_policies_side_by_side_take_what_they_know():
    settings = Settings(pairs=("step=1M",), variables=("MALLOC_ARENA_MAX=2",), cpus=3)
    both = (Bump, MmapOnly)
    assert settings.parameters(Bump, both) == {"step": 1 << 20}
    assert settings.parameters(MmapOnly, both) == {"arena_max": 2, "cpus": 3}


@pytest.mark.parametrize(
    ("settings", "policy", "message"),
    [
        (Settings(variables=("MALLOC_ARENA_MAX",)), Glibc, "write it as NAME=VALUE"),
        (Settings(variables=("MALLOC_ARENAMAX=2",)), Glibc, "did you mean MALLOC_ARENA_MAX?"),
        (Settings(variables=("MALLOC_ARENA_MAX=2",)), Bump, "Bump is another policy"),
        (Settings(tunables="glibc.malloc.hugetlb=3"), Glibc, "parameter hugetlb: 3"),
        (Settings(cpus=2), Bump, "Bump has no parameter 'cpus'"),
        (Settings(pairs=("mmap_treshold=1",)), Glibc, "did you mean 'mmap_threshold'?"),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_be_right(settings, policy, message):
    with pytest.raises(InputError) as caught:
        settings.parameters(policy)
    assert message in str(caught.value)
