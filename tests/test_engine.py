"""The engine through its public door, with a policy small enough to know the outcome by hand."""

import numpy as np
import pytest

from allocsim import metrics
from allocsim.component.entry import NotCompilable
from allocsim.driver import driver_for
from allocsim.engine import compiling, drive_columns, no_samples
from allocsim.errors import AllocsimError, InputError, SimulationError
from allocsim.kernel import CostTable, Event
from allocsim.machine import Machine
from allocsim.policy import Kind, Policy, load_policy
from allocsim.simulation import simulate
from allocsim.trace import Op, Trace
from allocsim.workload import from_spec

MALLOC, FREE, TOUCH, READ = Op.MALLOC, Op.FREE, Op.TOUCH, Op.READ
CHURN = {
    "ops": 6000,
    "live_objects": 300,
    "sizes": {"distribution": "uniform", "low": 1, "high": 2000},
}


class Pages(Policy):
    """Whole pages by mmap, with the length in a header."""

    def malloc(self, size):
        length = (size + 16 + 4095) & -4096
        address = self.kernel.mmap(length)
        if address < 0:
            return 0
        self.kernel.store(address, length)
        return address + 16

    def free(self, address):
        self.kernel.munmap(address - 16, self.kernel.load(address - 16))

    def usable_size(self, address):
        return self.kernel.load(address - 16) - 16


def run(source, policy=Pages, **options):
    return simulate(source, policy, **{"mode": "interpreted", **options})


def test_one_block_by_hand():
    trace = Trace.of(op=[MALLOC, FREE], object=[0, 0], size=[10_000, 0])
    totals = run(trace).totals
    assert totals["mmap_calls"] == totals["munmap_calls"] == 1
    assert totals["minor_faults"] == 3  # 10,016 bytes lie on three pages, all written
    assert totals["resident_peak_bytes"] == 3 * 4096
    assert totals["resident_end_bytes"] == totals["live_end_bytes"] == 0
    assert totals["live_peak_bytes"] == 10_000


class Reader(Pages):
    """As many loads as there are bytes asked for."""

    def malloc(self, size):
        address = self.kernel.mmap(size)
        for _ in range(size):
            self.kernel.load(address)
        return address

    def free(self, address):
        self.kernel.munmap(address, 4096)


def test_calls_are_irregular_by_how_their_accesses_differ_from_the_last_of_their_kind():
    sizes = [1, 1, 9, 9, 18, 18, 1, 1000]
    columns = {"op": [], "object": [], "size": [], "written": 0}
    for slot, size in enumerate(sizes):
        for op, n_bytes in ((MALLOC, size), (TOUCH, 1), (FREE, 0)):
            columns["op"].append(op)
            columns["object"].append(slot)
            columns["size"].append(n_bytes)
    counts = run(Trace.of(**columns), Reader).driver.policy.kernel.counts
    assert counts[Event.IRREGULAR] == 1 + 1 + 2 + 3 + 16  # eights begun, 16 at most
    assert counts[Event.WRITE] == 0  # all are of one byte
    assert counts[Event.BYTE_WRITTEN] == len(sizes)


def test_results_say_which_costs_they_are_by_and_how_certain_they_are():
    trace = Trace.of(op=[MALLOC, FREE], object=[0, 0], size=[10_000, 0])
    plain = CostTable.load()
    half, double = (tuple(ns * factor for ns in plain.unit_ns) for factor in (0.5, 2))
    table = CostTable(plain.unit_ns, {}, half, double, name="mine.toml")
    found = run(trace, machine=Machine(costs=table))
    assert found.counts[Event.MMAP] == 1
    assert found.provenance["costs"] == {"table": "mine.toml", "hash": table.content_hash()}
    low, high = found.provenance["cpu_interval_ns"]["cpu_ns"]
    assert low < found.totals["cpu_ns"] < high
    assert run(trace).provenance["costs"]["table"] == "shipped"
    assert table.has_intervals and not CostTable(plain.unit_ns, {}).has_intervals


def test_memory_is_resident_only_where_it_is_written():
    trace = Trace.of(op=[MALLOC], object=[0], size=[1 << 20], written=[0])
    assert run(trace).totals["resident_end_bytes"] == 4096  # the header's page
    written = Trace.of(op=[MALLOC, TOUCH], object=[0, 0], size=[1 << 20, 8192], offset=[0, 65536])
    assert run(written).totals["resident_end_bytes"] == (256 + 1) * 4096


def test_reading_maps_the_page_of_zeros_and_is_not_resident():
    trace = Trace.of(op=[MALLOC, READ], object=[0, 0], size=[1 << 20, 1 << 20], written=[0, 0])
    totals = run(trace).totals
    assert totals["zero_page_faults"] == 256  # 1 MiB and the header: 257 pages, one is written
    assert totals["resident_end_bytes"] == 4096


def test_without_writing_only_metadata_is_resident():
    trace = Trace.of(op=[MALLOC], object=[0], size=[1 << 20])
    assert run(trace, writing=False).totals["resident_peak_bytes"] == 4096


def test_realloc_copies_and_keeps_one_object():
    trace = Trace.of(op=[MALLOC, Op.REALLOC, FREE], object=[0, 0, 0], size=[100, 9000, 0])
    result = run(trace)
    assert result.totals["copying_ns"] > 0
    assert result.totals["live_end_bytes"] == 0
    assert result.totals["live_peak_bytes"] == 9000


def test_realloc_of_nothing_is_malloc_and_to_nothing_is_free():
    trace = Trace.of(op=[Op.REALLOC, Op.REALLOC], object=[0, 0], size=[5000, 0])
    totals = run(trace).totals
    assert (totals["mmap_calls"], totals["munmap_calls"]) == (1, 1)
    assert totals["live_end_bytes"] == 0


def test_exhaustion_is_counted_and_the_run_goes_on():
    trace = Trace.of(
        op=[MALLOC, MALLOC, FREE, FREE], object=[0, 1, 1, 0], size=[1 << 20, 100, 0, 0]
    )
    result = run(trace, machine=Machine(limit_as_bytes=3 << 20))
    assert result.totals["failed_requests"] == 1
    assert result.totals["ops"] == 4


def test_the_same_inputs_give_the_same_result():
    first, second = (run(from_spec(CHURN, seed=3), Walker) for _ in range(2))
    assert first.totals == second.totals
    assert all(np.array_equal(first.samples[k], second.samples[k]) for k in first.samples)


def test_time_is_think_time_plus_cost():
    trace = Trace.of(op=[MALLOC, FREE], object=[0, 0], size=[100, 0], think_ns=[1000, 500])
    whole = CostTable(tuple(float(round(ns)) for ns in CostTable.load().unit_ns), {})
    totals = run(trace, machine=Machine(costs=whole)).totals
    assert totals["time_ns"] == 1500 + totals["cpu_ns"] + totals["program_ns"]


def test_a_cost_table_changes_time_but_no_count():
    table = CostTable.load()
    dear = CostTable(tuple(ns * 2 for ns in table.unit_ns), {})
    cheap_run, dear_run = (
        run(from_spec(CHURN, seed=1), machine=Machine(costs=c)) for c in (table, dear)
    )
    assert dear_run.totals["cpu_ns"] == pytest.approx(2 * cheap_run.totals["cpu_ns"], rel=1e-6)
    assert dear_run.totals["syscalls"] == cheap_run.totals["syscalls"]


def test_samples_and_walks_are_spread_over_the_run():
    result = run(from_spec(CHURN, seed=1), samples=60, walks=6)
    assert list(result.samples["op"]) == [100 * (i + 1) for i in range(60)]
    assert list(result.walks["op"]) == [1000 * (i + 1) for i in range(6)]


def test_operations_and_system_calls_are_reported_in_order():
    faults, calls = [], []
    trace = Trace.of(op=[MALLOC, MALLOC, FREE], object=[0, 1, 0], size=[5000, 10, 0])
    run(trace, on_ops=lambda a, f: faults.extend(f.tolist()), on_syscalls=calls.extend)
    assert faults == [2, 1, 0]
    assert [(int(c[0]), int(c[1])) for c in calls] == [(0, 9), (1, 9), (2, 11)]


class Wild(Pages):
    def free(self, address):
        self.kernel.store(address + (1 << 46), 1)


class Clumsy(Pages):
    def free(self, address):
        return {}["nothing"]


def test_a_policy_that_goes_wild_is_told_with_op_method_and_address():
    trace = Trace.of(op=[MALLOC, FREE], object=[0, 0], size=[10, 0])
    with pytest.raises(SimulationError, match=r"op 1 \(free\), policy Wild.*free.*0x[0-9a-f]+"):
        run(trace, Wild)


def test_an_authors_mistake_is_told_with_its_line():
    trace = Trace.of(op=[MALLOC, FREE], object=[0, 0], size=[10, 0])
    with pytest.raises(AllocsimError, match=r"free \(test_engine.py:\d+\): KeyError"):
        run(trace, Clumsy)


def test_bad_traces_and_options_are_refused():
    bad = Trace.of(op=[FREE], object=[0], size=[0])
    with pytest.raises(InputError, match="row 0"):
        run(bad)
    good = Trace.of(op=[MALLOC], object=[0], size=[1])
    with pytest.raises(InputError, match="unknown key 'limit'"):
        run(good, machine=Machine(limit=1))
    with pytest.raises(InputError, match="no parameter"):
        run(good, parameters={"threshold": 1})
    with pytest.raises(InputError, match="mode is one of"):
        run(good, mode="fast")


class Walker(Pages):
    """Reports one used and one free range for ever, to see walks end up in the result."""

    def walk(self):
        self.ranges.add(4096, 64, Kind.USED)
        self.ranges.add(4160, 64, Kind.FREE)


def test_what_walk_reports_is_measured():
    result = run(from_spec(CHURN, seed=1), Walker, walks=4)
    assert list(result.walks["free_bytes"]) == [64] * len(result.walks["op"])


@pytest.mark.slow
def test_compiled_equals_interpreted():
    source = from_spec(CHURN, seed=5)
    interpreted = run(source, Walker, mode="interpreted")
    for mode in ("compiled", "mixed"):
        other = run(source, Walker, mode=mode)
        assert interpreted.totals == other.totals
        for name in interpreted.samples:
            assert np.array_equal(interpreted.samples[name], other.samples[name])


def run_raw(driver, trace: Trace, stop: int) -> None:
    """The compiled loop over a trace that nothing has checked."""
    columns = (*drive_columns(trace), 0, stop, *no_samples())
    driver.run("drive_sampled", *columns, compiled=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "value"), [("object", -2), ("object", -1), ("object", 2**30), ("thread", 64)]
)
def test_compiled_code_refuses_what_lies_beyond_its_tables(column, value):
    """Without the checks that files go through: the loop itself must not crash the process."""
    columns = Trace.of(op=[Op.MALLOC, Op.MARK], object=[0, -1], size=[10, 0]).columns()
    columns[column] = np.array([value, columns[column][1]], columns[column].dtype)
    driver = driver_for(load_policy("first_fit"))
    with pytest.raises(SimulationError, match="out of range"):
        run_raw(driver, Trace(**columns), 2)
    with pytest.raises(SimulationError, match="no such operations"):
        run_raw(driver, Trace.concatenate([]), 3)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["interpreted", pytest.param("compiled", marks=pytest.mark.slow)])
def test_sizes_around_what_fits_beside_an_address_are_all_counted(mode):
    sizes = [0, 65_534, 65_535, 65_536, 1 << 30]
    n = len(sizes)
    trace = Trace.of(
        op=[MALLOC] * n + [Op.REALLOC] * n + [FREE] * n,
        object=[*range(n)] * 3,
        size=[*sizes, *reversed([max(size, 1) for size in sizes]), *[0] * n],
        written=0,
    )
    result = run(trace, mode=mode, samples=3 * n)
    live = np.cumsum([*sizes, *np.subtract(trace.size[n : 2 * n], sizes).tolist()])
    assert result.totals["live_peak_bytes"] == live.max()
    assert result.totals["live_end_bytes"] == 0
    assert result.driver.live_blocks(n) == []


@pytest.mark.parametrize("mode", ["interpreted", pytest.param("compiled", marks=pytest.mark.slow)])
@pytest.mark.parametrize("address", [1 << 47, 1 << 60, -4096])
def test_a_block_where_no_program_has_memory_is_an_error(mode, address):
    class Elsewhere(Pages):
        where = address

        def malloc(self, size):
            return self.where

    trace = Trace.of(op=[MALLOC, FREE], object=0, size=[8, 0], written=0)
    with pytest.raises(
        SimulationError, match=r"op 0 \(malloc\), policy Elsewhere.*outside of memory"
    ):
        run(trace, Elsewhere, mode=mode)


def test_code_that_is_refused_runs_interpreted_with_one_warning(monkeypatch):
    def refuse(*_):
        raise NotCompilable("Clumsy cannot be compiled: for a reason of its own")

    monkeypatch.setattr("allocsim.component.entry.entry", refuse)
    monkeypatch.setattr(compiling, "COMPILE_FROM_OPS", 1)
    trace = Trace.of(op=[MALLOC], object=[0], size=[10])
    with pytest.warns(RuntimeWarning, match="for a reason of its own") as warned:
        for _ in range(2):
            assert run(trace, Clumsy, mode="auto").totals["mmap_calls"] == 1
    assert len(warned) == 1
    with pytest.raises(AllocsimError, match="cannot be compiled"):
        run(trace, Clumsy, mode="compiled")


@pytest.mark.slow
def test_what_cannot_be_compiled_runs_interpreted_with_one_warning(monkeypatch):
    monkeypatch.setattr(compiling, "COMPILE_FROM_OPS", 1)
    trace = Trace.of(op=[MALLOC], object=[0], size=[10])
    with pytest.warns(RuntimeWarning, match=r"Clumsy.free \(test_engine.py:\d+\)") as warned:
        for _ in range(2):
            assert run(trace, Clumsy, mode="auto").totals["mmap_calls"] == 1
    assert len(warned) == 1
    with pytest.raises(AllocsimError, match="cannot be compiled"):
        run(trace, Clumsy, mode="compiled")


def test_what_is_summed_while_walking_is_what_the_list_of_ranges_gives():
    """Used bytes and metadata are not listed in a run; what is replaced moves between sums."""
    result = run(from_spec(CHURN, seed=3), load_policy("glibc"), samples=1, walks=1)
    driver = result.driver
    driver.walk()
    ranges = np.array(driver.policy.ranges.listed()).T
    states = metrics.heap_states(np.zeros_like(ranges[0]), *ranges, n_walks=1)
    listed = {name: column.item() for name, column in states.items()}
    assert driver.policy.tcache.structure != 0  # some blocks look used but are free
    assert listed == {name: result.walks[name][-1] for name in listed}
    assert listed["used_bytes"] > listed["metadata_bytes"] > 0
