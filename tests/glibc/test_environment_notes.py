"""What glibc ignores, or reads otherwise than it was meant, is said; what it takes is not."""

import pytest

from allocsim.glibc.environment import parameters_from_environment
from allocsim.glibc.environment_notes import notes_on_environment
from allocsim.glibc.parameter_notes import notes_on_parameters

M = "glibc.malloc."


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("foo", "glibc ignores 'foo', which is no name=value"),
        (f"{M}mmap_treshold=5", "did you mean glibc.malloc.mmap_threshold?"),
        ("mmap_threshold=5", "did you mean glibc.malloc.mmap_threshold?"),
        (f"{M}mmap_threshold=64K", "as 64; it knows no units, write 65536"),
        (f"{M}mmap_threshold=x", "as 0"),
        (f"{M}arena_max=0", "out of the range 1 to "),
        (f"{M}perturb=010", "as 8: a number that begins with 0 is octal"),
        (f"{M}check=1", "allocsim does not model glibc.malloc.check"),
    ],
)
def test_a_setting_that_is_not_taken_as_written_is_named(text, note):
    (found,) = notes_on_environment({"GLIBC_TUNABLES": text}, 2.36)
    assert note in found


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (f"{M}arena_max=2:foo", "ignores the whole string, since 'foo' is no name=value"),
        (f"{M}perturb=1=2", "ignores the whole string, since 'glibc.malloc.perturb=1=2' is no"),
        (f"{M}mmap_threshold=64K", "which is no number; it knows no units, write 65536"),
    ],
)
def test_later_versions_ignore_more(text, note):
    (found,) = notes_on_environment({"GLIBC_TUNABLES": text}, 2.41)
    assert note in found
    assert parameters_from_environment({"GLIBC_TUNABLES": text}, 2.41) == {}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"GLIBC_TUNABLES": ""},
        {"GLIBC_TUNABLES": f"{M}mmap_threshold=65536:glibc.rtld.nns=4:{M}arena_max=0x10"},
        {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_PERTURB_": "0"},
    ],
)
@pytest.mark.parametrize("version", [2.36, 2.41, 2.43])
def test_what_glibc_takes_as_written_is_passed_over(environment, version):
    assert notes_on_environment(environment, version) == []


def test_variables_are_looked_at_like_tunables():
    (note,) = notes_on_environment({"MALLOC_ARENA_MAX": "2k"}, 2.36)
    assert note == "glibc 2.36 reads 'MALLOC_ARENA_MAX=2k' as 2; it knows no units, write 2048"


@pytest.mark.parametrize("name", ["trim_threshold", "top_pad", "mmap_max"])
def test_what_pins_the_threshold_is_said(name):
    (note,) = notes_on_parameters({name: 131_072}, {"mmap_threshold": -1})
    assert note.startswith(f"setting {name} pins mmap_threshold at 131072 bytes")
    assert notes_on_parameters({name: 131_072, "mmap_threshold": 5}, {}) == []
    assert notes_on_parameters({name: -1}, {}) == []


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ({"tcache_max": 1033}, "tcache_max above 1032 is ignored by glibc 2.36"),
        ({"mxfast": 161, "version": 2.41}, "mxfast above 160 is ignored by glibc 2.41"),
        ({"tcache_count": 65_536}, "tcache_count above 65535 is ignored by glibc 2.36"),
        ({"tcache_max": 4_194_281, "version": 2.43}, "tcache_max above 4194280 is ignored"),
        ({"mxfast": 80, "version": 2.43}, "mxfast is ignored by glibc 2.43"),
    ],
)
def test_values_beyond_a_limit_of_their_own_are_named(given, note):
    (found,) = notes_on_parameters(given, {})
    assert found.startswith(note)


def test_values_up_to_the_limit_are_not():
    assert (
        notes_on_parameters({"tcache_max": 1032, "mxfast": 160, "tcache_count": 65_535}, {}) == []
    )
