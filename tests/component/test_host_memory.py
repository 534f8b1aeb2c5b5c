"""Memory that one simulation hands on to the next: always zeros, whatever was written there."""

import ctypes
import errno
import gc
import mmap
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from allocsim import driver_pool
from allocsim.cli import app
from allocsim.component import Component, Part, Pool, host_memory
from allocsim.policy import load_policy
from allocsim.simulation import simulate
from allocsim.workload import load_workload

LENGTH, KEPT, HUGE = 1 << 30, 8 << 20, 2 << 20


@pytest.fixture(autouse=True)
def nothing_kept():
    host_memory.release()
    yield
    host_memory.release()


def minor_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def reserved(length=LENGTH, kept=KEPT):
    return host_memory.reserve(length, kept)


def address(array):
    return array.ctypes.data


class Table(Component):
    words = Pool("i8", LENGTH >> 3, kept_bytes=KEPT)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 2 * KEPT), st.integers(1, 9000) | st.integers(1, HUGE)),
            max_size=10,
        ),
        max_size=4,
    )
)
def test_what_is_handed_on_is_zero_wherever_it_was_written(runs):
    array = reserved()
    first = address(array)
    for writes in runs:
        for at, n in writes:
            array[at : at + n] = 255
        del array
        array = reserved()
        assert address(array) == first
        assert not array[: 2 * KEPT + HUGE].any()


def test_where_most_is_used_a_huge_page_is_made():
    if not has_huge_pages():
        pytest.skip("this host makes no huge pages on request")
    before = huge_bytes()
    for _ in range(3):
        array = reserved()
        array[: HUGE // 4] = 1  # little of it: nothing to gain
        del array
    host_memory.clear()
    assert huge_bytes() == before
    array = reserved()
    array[:KEPT] = 1
    del array
    host_memory.clear()
    assert before < huge_bytes() <= before + KEPT


def has_huge_pages():
    mapping = mmap.mmap(-1, 2 * HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    array = np.frombuffer(mapping, np.uint8)
    array[:] = 1
    at = -array.ctypes.data % HUGE
    try:
        mapping.madvise(25, at, HUGE)  # MADV_COLLAPSE
    except OSError:
        return False
    return True


def huge_bytes():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("AnonHuge"))


def test_kept_pages_are_not_got_from_the_host_again():
    def faults_of_a_run():
        array = reserved()
        before = minor_faults()
        array[:KEPT] = 1
        return minor_faults() - before

    n_pages = KEPT // mmap.PAGESIZE
    assert faults_of_a_run() >= n_pages
    assert faults_of_a_run() < n_pages // 4


def test_the_rest_goes_back_to_the_host():
    array = reserved(LENGTH, KEPT)
    before = resident_bytes()
    array[KEPT : 9 * KEPT] = 1
    assert resident_bytes() > before + 7 * KEPT
    del array
    assert resident_bytes() < before + KEPT


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@pytest.mark.parametrize("what", ["missing", "short"])
def test_a_host_that_does_not_tell_its_pages(what, monkeypatch, tmp_path):
    pagemap = tmp_path / "pagemap"
    if what == "short":
        pagemap.touch()
    monkeypatch.setattr(host_memory, "_PAGEMAP", pagemap)
    array = reserved()
    array[: 2 * KEPT] = 7
    del array
    assert not reserved()[: 2 * KEPT].any()


def test_memory_that_somebody_still_looks_at_is_not_handed_on():
    array = reserved()
    view = array.data[:KEPT]
    before = address(array)
    array[0] = 3
    del array
    other = reserved()
    assert address(other) != before
    assert view[0] == 3
    del view
    assert address(reserved()) == before


def test_another_length_gets_memory_of_its_own():
    array = reserved()
    array[:KEPT] = 1
    del array
    other = reserved(2 * LENGTH)
    assert len(other) == 2 * LENGTH
    assert not other[:KEPT].any()


def test_what_is_kept_makes_room_where_address_space_is_short(monkeypatch):
    class Limited(mmap.mmap):
        n = 0

        def __new__(cls, *arguments, **options):
            if cls.n:
                raise OSError(errno.ENOMEM, "Cannot allocate memory")
            cls.n += 1
            return super().__new__(cls, *arguments, **options)

        def __del__(self):
            type(self).n -= 1

    monkeypatch.setattr(mmap, "mmap", Limited)
    first = reserved()
    del first
    assert len(reserved(2 * LENGTH, kept=0)) == 2 * LENGTH


class Outer(Component):
    table = Part(Table)


class Shop(Table):
    def close(self, door):  # its own meaning
        return door


def test_a_closed_component_hands_its_pool_on():
    ones = memoryview(bytes([1]) * KEPT).cast("q")

    def faults_of_a_table():
        outer = Outer()
        before = minor_faults()
        outer.table.words[: KEPT >> 3] = ones
        faults = minor_faults() - before
        outer.close()
        return faults

    assert faults_of_a_table() > KEPT // mmap.PAGESIZE // 2
    assert faults_of_a_table() < KEPT // mmap.PAGESIZE // 4


def test_closing_twice_is_closing_once():
    outer = Outer()
    outer.close()
    outer.close()


def test_a_part_may_have_a_close_of_its_own():
    class Mall(Component):
        shop = Part(Shop)

    mall = Mall()
    assert mall.shop.close(7) == 7
    mall.shop.words[0] = 1
    mall.close()
    assert Table().words[0] == 0


def test_what_the_last_use_left_at_zero_goes_back_to_the_host():
    array = reserved()
    array[:KEPT] = 1
    del array
    for _ in range(2):
        host_memory.clear()
        reserved()[0] = 1  # all that these use
    before = resident_bytes()
    host_memory.clear()
    assert resident_bytes() < before - KEPT // 2


def test_there_is_an_end_to_what_is_kept():
    before = reserved_gib()
    arrays = [reserved(200 << 30) for _ in range(os.cpu_count() + 3)]
    assert reserved_gib() - before >= 200 * len(arrays)
    arrays.clear()
    assert reserved_gib() - before < 200 * os.cpu_count() + 100


def test_memory_can_be_set_aside():
    array = reserved()
    array[:KEPT] = 1
    del array
    with host_memory.set_aside():
        before = minor_faults()
        inner = reserved()
        inner[:KEPT] = 1
        assert minor_faults() - before > KEPT // mmap.PAGESIZE // 2
        del inner
    before = minor_faults()
    array = reserved()
    assert not array[:KEPT].any()
    array[:KEPT] = 1
    assert minor_faults() - before < KEPT // mmap.PAGESIZE // 4


def test_setting_memory_aside_leaves_the_work_of_clearing_it():
    array = reserved()
    array[:KEPT] = 1
    at = address(array)
    del array
    with host_memory.set_aside():
        pass
    assert ctypes.string_at(at, 1) == b"\1"
    host_memory.clear()
    assert ctypes.string_at(at, 1) == b"\0"


EXPERIMENT = """
workloads = [{use = "churn", ops = 2000}]
policies = ["best_fit"]
repeats = 3
"""


@pytest.mark.parametrize("command", ["simulate", "run"])
def test_commands_give_up_each_run_s_memory_before_the_next(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("two.toml").write_text(EXPERIMENT)
    arguments = {
        "simulate": ["jq", *["--policy", "best_fit"] * 3],
        "run": ["two.toml", "--jobs", "1"],
    }
    driver_pool.clear()
    gc.collect()
    host_memory.release()
    before = reserved_gib()
    gc.disable()
    try:
        ended = CliRunner().invoke(app, [command, *arguments[command]])
        assert ended.exit_code == 0, ended.output
        assert reserved_gib() - before < 400  # one simulation's
    finally:
        gc.enable()


def reserved_gib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 20 for line in lines if line.startswith("VmSize"))


@pytest.mark.parametrize("mode", ["interpreted", "compiled"])
def test_runs_do_not_depend_on_the_runs_before(mode):
    trace, other = (next(iter(load_workload("churn", n).batches(20_000))) for n in (3, 4))
    glibc = load_policy("glibc")

    def outcome(trace):
        addresses = []
        result = simulate(
            trace, glibc, mode=mode, on_ops=lambda at, faults: addresses.append([at, faults])
        )
        heap = np.array(result.driver.policy.kernel.words[: 1 << 20])
        result.close()
        return result.totals, np.concatenate(addresses, axis=1), heap

    first = outcome(trace)
    outcome(other)
    second = outcome(trace)
    assert first[0] == second[0]
    assert np.array_equal(first[1], second[1])
    assert np.array_equal(first[2], second[2])
    assert first[2].any()
