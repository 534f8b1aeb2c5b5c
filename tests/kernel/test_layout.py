"""Layouts of the address space, and their drawing."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from allocsim.errors import InputError
from allocsim.kernel import Layout
from allocsim.kernel.draw import draw

MIB = 1 << 20
MAPS = """\
555555554000-555555556000 r-xp 00000000 08:01 12 /bin/true
555555556000-555555557000 rw-p 00002000 08:01 12 /bin/true
555555557000-555555578000 rw-p 00000000 00:00 0 [heap]
7ffff7dc9000-7ffff7dcb000 rw-p 00000000 00:00 0
7ffff7dcb000-7ffff7fff000 r-xp 00000000 08:01 13 /lib/libc.so.6
7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0 [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
"""


def test_the_mapping_area_starts_below_the_stacks_room():
    assert Layout.standard().mmap_base == 0x7FFF_F7FF_F000
    assert Layout.standard(stack_limit_bytes=1 << 30).mmap_base < 0x7FFF_C000_0000
    assert Layout.standard(bits=32).mmap_base == 0xC000_0000 - 128 * MIB


def test_the_legacy_mapping_area_starts_at_a_third_of_user_space():
    assert Layout.standard(32, legacy=True).mmap_base == 0x4000_0000
    assert Layout.standard(64, legacy=True).mmap_base == 0x2AAA_AAAA_B000


@pytest.mark.parametrize(
    "bad", [{"bits": 16}, {"stack_limit_bytes": 0}, {"stack_limit_bytes": 1 << 47}]
)
def test_impossible_layouts_are_refused(bad):
    with pytest.raises(InputError):
        Layout.standard(**bad)


def test_the_layout_of_a_real_process_without_its_heap():
    layout = Layout.from_maps(MAPS)
    assert layout.start_brk == 0x5555_5555_7000
    assert [area.name for area in layout.areas] == [
        "/bin/true", "/bin/true", "anonymous", "/lib/libc.so.6", "[stack]"
    ]  # fmt: skip
    assert [area.protection for area in layout.areas] == [5, 3, 3, 5, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no mappings"),
        ("what\n", "maps:1: not a line"),
        (MAPS + MAPS, "maps:8: .*out of order"),
    ],
)
def test_maps_that_cannot_be_read_are_refused(text, said):
    with pytest.raises(InputError, match=said):
        Layout.from_maps(text)


def test_a_heap_above_all_mappings_is_refused():
    with pytest.raises(InputError, match=r"^maps: no mapping above the heap, which starts at "):
        Layout.from_maps(MAPS, 0x7FFF_FFFF_0000)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_drawing_covers_the_whole_address_space_in_aligned_columns(bits, legacy):
    lines = draw(Layout.standard(bits, legacy)).splitlines()[1:]
    rows = [re.match(r"(0x[0-9a-f]+) +([\d.]+ \w+)  (\S.*)", line) for line in lines[1:]]
    starts = [int(row[1], 16) for row in rows]
    assert starts == sorted(starts, reverse=True)
    assert starts[-1] == 0
    assert len({row.start(3) for row in rows}) == 1
    assert all(low != high for low, high in pairwise(starts))


@pytest.mark.parametrize(
    ("layout", "parts"),
    [
        (Layout.standard(64), ["kernel", "undefined", "grow down ↓ by mmap", "grows up ↑ by brk"]),
        (Layout.standard(32, legacy=True), ["kernel", "grows up ↑ by mmap", "reserved", "BSS"]),
        (Layout.standard(32, stack_limit_bytes=64 * MIB), ["at most 64 MiB", "stack", "text"]),
    ],
)
def test_a_drawing_names_the_parts(layout, parts):
    text = draw(layout)
    assert all(part in text for part in parts)
    assert ("undefined" in text) == (layout.bits == 64)


def test_maps_come_from_an_ordinary_file_of_whole_pages():
    with pytest.raises(InputError, match="/dev/zero: cannot be read: it is a device"):
        Layout.from_maps_file(Path("/dev/zero"))
    with pytest.raises(InputError, match=r"maps:1: .* is no range of whole pages"):
        Layout.from_maps("10001-20000 rw-p 00000000 00:00 0\n")
    assert Layout.from_maps_file(Path("/proc/self/maps")).areas


@pytest.mark.parametrize("address", [-1, 0, 7, 1 << 47, 10**30])
def test_a_heap_starts_in_user_space(address):
    with pytest.raises(InputError, match="maps: no heap can start at"):
        Layout.from_maps(MAPS, start_brk=address)
