"""Threads that meet in simulated time, through the engine's public door."""

import numpy as np
import pytest

from allocsim.errors import InputError, SimulationError
from allocsim.kernel import CostTable, Event
from allocsim.machine import Machine
from allocsim.metrics import THREAD_COLUMNS
from allocsim.policy import Policy, load_policy
from allocsim.simulation import simulate
from allocsim.workload import from_spec

SMALL = {"distribution": "uniform", "low": 1, "high": 3000}


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


class Apart(Pages):
    """Areas of one thread do not merge with those of the other."""

    def malloc(self, size):
        length = (size + 16 + 4095) & -4096
        address = self.kernel.mmap(length, 7 if self.thread else 3)
        self.kernel.store(address, length)
        return address + 16


class Locked(Pages):
    """One lock around malloc."""

    def malloc(self, size):
        self.kernel.lock(0)
        address = super().malloc(size)
        self.kernel.unlock(0)
        return address


class Bump(Policy):
    """A page for each block, one after the other, of memory that one brk gave."""

    next_block = 0

    def malloc(self, size):
        if self.next_block == 0:
            self.next_block = self.kernel.sbrk(16 << 20)
        self.next_block += 4096
        return self.next_block

    def free(self, address):
        pass


class Arena(Policy):
    """Nothing but a lock, 1,000 bytes cleared under it, and the same block for ever."""

    block = 0

    def malloc(self, size):
        if self.block == 0:
            self.block = self.kernel.sbrk(1 << 20)
        self.kernel.lock(0)
        self.kernel.zero(self.block, 1000)
        self.kernel.unlock(0)
        return self.block

    def free(self, address):
        self.kernel.lock(0)
        self.kernel.unlock(0)


def prices(**ns):
    """A cost table in which only the named events cost something."""
    named = {Event[name.upper()]: price for name, price in ns.items()}
    return CostTable(tuple(float(named.get(event, 0)) for event in Event), {})


def workload(threads, ops, sizes=SMALL, live=20, **more):
    return from_spec(
        {"ops": ops, "threads": threads, "live_objects": live, "sizes": sizes, **more}, seed=1
    )


def run(source, policy=Pages, **options):
    return simulate(source, policy, **{"mode": "interpreted", "walks": 0, **options})


def time_of(result):
    """Each thread's time by the sum of its accounts, in nanoseconds."""
    return sum(result.threads[name] for name in THREAD_COLUMNS[1:])


@pytest.mark.parametrize("policy", [Pages, Locked, load_policy("glibc")])
@pytest.mark.parametrize("cpus", [1, 2, 8])
@pytest.mark.parametrize("vma_locks", [False, True])
def test_work_kernel_and_waiting_are_all_of_a_threads_time(policy, cpus, vma_locks):
    source = workload(4, 1200, cross_thread_frees=0.2, think_ns=500)
    options = {"cpus": cpus, "vma_locks": vma_locks}
    result = run(source, policy, machine=Machine(**options))
    ends = np.array(result.driver.thread_ps[:4]) / 1000
    assert np.all(np.abs(time_of(result) - ends) < len(THREAD_COLUMNS))  # each is rounded down
    assert result.totals["time_ns"] == int(ends.max())


def test_time_in_the_kernel_is_what_calls_and_faults_cost():
    result = run(workload(4, 1200, cross_thread_frees=0.2))
    counts, unit_ps = result.driver.policy.kernel.counts, CostTable.load().unit_ps
    events = (Event.MMAP, Event.MUNMAP, Event.PAGE_RELEASED)
    events += (Event.SHOOTDOWN, Event.INTERRUPTION, Event.WAKING, Event.HANDOVER)
    events += (Event.AREA_CUT, Event.AREA_JOINED, Event.PAGE_FLUSHED)
    events += (Event.WRITE_FAULT, Event.PAGE_ZEROED, Event.COLD_PAGE, Event.FAULT_RUN)
    cost_ns = sum(counts[e] * unit_ps[e] for e in events) / 1000
    assert result.threads["kernel_ns"].sum() == pytest.approx(cost_ns, abs=4)


def test_threads_alone_need_no_waiting_and_scale():
    """Private objects, no shared lock: two threads take the time of the longer one alone."""
    table = prices(byte_written=1.0)
    source = workload(2, 400, accesses={"written": 1.0})
    result = run(source, machine=Machine(cpus=2, costs=table))
    waits = [name for name in THREAD_COLUMNS if name.startswith("wait")]
    assert all(result.threads[name].sum() == 0 for name in waits)
    assert result.totals["time_ns"] == result.threads["work_ns"].max()


def test_mmap_lock_excludes_writers():
    """Calls cost 1 us each and nothing else does: all of them follow each other."""
    table = prices(mmap=1000.0, munmap=1000.0)
    result = run(workload(3, 600), machine=Machine(cpus=3, costs=table))
    calls = result.totals["syscalls"]
    last = result.totals["time_ns"]
    assert calls * 1000 == result.threads["kernel_ns"].sum()
    assert last == calls * 1000  # the lock was never idle, and never held twice
    assert result.threads["wait_mmap_lock_ns"].sum() > calls * 1000


def test_readers_of_mmap_lock_overlap():
    """Faults under mmap_lock as readers hold nobody up: the time is the longer thread's own."""
    table = prices(write_fault=1000.0)
    options = {"cpus": 2, "vma_locks": False}
    result = run(workload(2, 400), Bump, machine=Machine(costs=table, **options))
    assert result.threads["wait_mmap_lock_ns"].sum() == 0
    assert result.totals["time_ns"] == result.threads["kernel_ns"].max()


def test_one_cpu_is_shared_by_turns():
    """No locks and no kernel: on one CPU the work of all adds up, and nobody starves."""
    table = prices(byte_written=100.0)
    source = workload(3, 600, accesses={"written": 1.0})
    alone = run(source, machine=Machine(cpus=3, costs=table))
    shared = run(source, machine=Machine(cpus=1, costs=table))
    work = shared.threads["work_ns"]
    assert list(work) == list(alone.threads["work_ns"])
    assert shared.totals["time_ns"] == work.sum()
    assert alone.totals["time_ns"] == work.max()
    # The first thread to end has waited while each of the others had its slices, of 3 ms each.
    first = time_of(shared).argmin()
    assert shared.threads["wait_cpu_ns"][first] == pytest.approx(2 * work[first], abs=2 * 3e6)


def test_a_shootdown_costs_for_each_other_running_thread():
    table = prices(mmap=1000.0, shootdown=700.0)
    result = run(workload(2, 100), machine=Machine(cpus=2, costs=table))
    counts = result.driver.policy.kernel.counts
    assert counts[Event.SHOOTDOWN] <= counts[Event.MUNMAP]
    assert counts[Event.SHOOTDOWN] > counts[Event.MUNMAP] // 2
    alone = run(workload(2, 100), machine=Machine(cpus=1, costs=table))
    assert alone.driver.policy.kernel.counts[Event.SHOOTDOWN] == 0


def test_a_shootdown_interrupts_each_other_running_thread():
    """Of two threads on two CPUs; what falls into a wait interrupts nobody."""
    table = prices(mmap=1000.0, shootdown=700.0, interruption=300.0)
    result = run(workload(2, 400, think_ns=5000), machine=Machine(cpus=2, costs=table))
    counts = result.driver.policy.kernel.counts
    assert counts[Event.SHOOTDOWN] // 2 < counts[Event.INTERRUPTION] <= counts[Event.SHOOTDOWN]
    spent = 1000 * counts[Event.MMAP] + 700 * counts[Event.SHOOTDOWN]
    assert result.threads["kernel_ns"].sum() == spent + 300 * counts[Event.INTERRUPTION]


@pytest.mark.parametrize(("policy", "waits"), [(Pages, True), (Apart, False)])
def test_a_writer_sleeps_until_faults_in_flight_in_its_area_are_over(policy, waits):
    """Calls take no time, faults 10 us each: only neighbours that are one area wait for them."""
    table = prices(write_fault=10_000.0, wake_delay=3000.0, waking=2000.0)
    source = workload(2, 400, think_ns=5000)
    result = run(source, policy, machine=Machine(cpus=2, costs=table))
    counts = result.driver.policy.kernel.counts
    assert (counts[Event.SLEEP] > 10) == waits
    assert (result.threads["wait_mmap_lock_ns"].sum() > 3000 * counts[Event.SLEEP]) == waits
    assert abs(counts[Event.WAKING] - counts[Event.SLEEP]) <= 2  # the last ones fall into no call
    faults = 10_000 * result.totals["minor_faults"]
    assert result.threads["kernel_ns"].sum() == faults + 2000 * counts[Event.WAKING]


def test_a_writer_waits_only_for_what_of_a_fault_is_under_a_lock():
    """Of 10 us the way in and out takes 9: most writers come while no area is locked."""
    source, options = workload(2, 400, think_ns=5000), {"cpus": 2}
    sleeps = []
    for trap in (0.0, 9000.0):
        table = prices(write_fault=10_000.0, wake_delay=3000.0, trap=trap)
        result = run(source, machine=Machine(costs=table, **options))
        counts = result.driver.policy.kernel.counts
        assert counts[Event.TRAP] == result.totals["minor_faults"]
        assert result.threads["kernel_ns"].sum() == 10_000 * counts[Event.TRAP]
        sleeps.append(counts[Event.SLEEP])
    assert sleeps[1] < sleeps[0] / 2


@pytest.mark.parametrize("cpus", [1, 2])
def test_what_mmap_lock_guards_moves_from_cpu_to_cpu(cpus):
    table = prices(mmap=1000.0, handover=500.0)
    result = run(workload(2, 400, think_ns=5000), machine=Machine(cpus=cpus, costs=table))
    counts = result.driver.policy.kernel.counts
    assert (counts[Event.HANDOVER] > 10) == (cpus > 1)
    spent = 1000 * counts[Event.MMAP] + 500 * counts[Event.HANDOVER]
    assert result.threads["kernel_ns"].sum() == spent


@pytest.mark.parametrize(("cpus", "frees"), [(1, 1.0), (2, 0.0), (2, 1.0)])
def test_headers_that_another_cpu_has_written_are_remote(cpus, frees):
    source = workload(2, 400, cross_thread_frees=frees)
    result = run(source, machine=Machine(cpus=cpus, costs=prices(remote_access=100.0)))
    counts = result.driver.policy.kernel.counts
    if cpus > 1 and frees:
        assert counts[Event.REMOTE_ACCESS] > 100
        assert result.threads["work_ns"].sum() == 100 * counts[Event.REMOTE_ACCESS]
    else:
        assert counts[Event.REMOTE_ACCESS] == 0


@pytest.mark.parametrize("cpus", [1, 2])
def test_who_waits_for_another_threads_operation_wakes_up_late_on_an_idle_cpu(cpus):
    source = workload(2, 600, cross_thread_frees=1.0, live=3)
    times = [
        run(
            source,
            machine=Machine(cpus=cpus, costs=prices(write_fault=10_000.0, wake_delay=delay)),
        ).totals["time_ns"]
        for delay in (0.0, 50_000.0)
    ]
    assert (times[1] > times[0] + 10 * 50_000) == (cpus > 1)
    assert cpus > 1 or times[1] == times[0]


def test_who_waits_for_a_moment_keeps_its_cpu_and_is_interrupted_there():
    """Calls take 1 us, waits for them not much longer: no thread sleeps, so all are shot at."""
    runs = [
        run(
            workload(2, 600, cross_thread_frees=1.0, live=3),
            machine=Machine(cpus=2, costs=prices(mmap=1000.0, wake_delay=delay)),
        )
        for delay in (0.0, 50_000.0)
    ]
    assert runs[0].threads["wait_objects_ns"].sum() > 50_000
    assert runs[0].totals["time_ns"] == runs[1].totals["time_ns"]
    counts = runs[0].driver.policy.kernel.counts
    assert counts[Event.SHOOTDOWN] > 0.98 * counts[Event.MUNMAP]


def test_each_cpu_has_its_own_caches_and_free_pages():
    """A page that one thread gave back is cold for the other one, unless they share a CPU."""
    source = workload(2, 400, cross_thread_frees=1.0, live=5)
    cold = [
        run(source, machine=Machine(cpus=cpus)).driver.policy.kernel.counts[Event.COLD_PAGE]
        for cpus in (1, 2)
    ]
    assert cold[1] > cold[0] + 50


def test_waking_a_thread_is_dear_only_where_it_rouses_an_idle_cpu():
    table = prices(mmap=1000.0, write_fault=10_000.0, wake_delay=3000.0, waking=2000.0)
    scarce, ample = (
        run(workload(4, 800), machine=Machine(cpus=n, costs=table)).driver.policy.kernel.counts
        for n in (2, 4)
    )
    assert scarce[Event.SWITCH] > 10
    assert ample[Event.SWITCH] == 0 < 10 < ample[Event.SLEEP]


def test_a_lock_of_the_policys_makes_threads_wait():
    options = {"machine": Machine(cpus=4, costs=prices(mmap=1000.0, lock=1.0))}
    free, locked = (run(workload(4, 600), p, **options) for p in (Pages, Locked))
    assert free.threads["wait_locks_ns"].sum() == 0
    assert locked.threads["wait_locks_ns"].sum() > 0


def test_work_under_a_policys_lock_is_never_done_twice_at_once():
    """1 us under the lock in each malloc, nothing outside: at most one thread at a time."""
    table = prices(byte_zeroed=1.0)
    source = workload(3, 300, accesses={"written": 0.0})
    result = run(source, Arena, machine=Machine(cpus=3, costs=table))
    n_mallocs = result.threads["work_ns"].sum() // 1000
    assert result.totals["time_ns"] >= n_mallocs * 1000
    assert result.threads["wait_locks_ns"].sum() > 0


@pytest.mark.parametrize(("held_ns", "sleep"), [(100, False), (20_000, True)])
def test_a_lock_that_opens_at_once_puts_nobody_to_sleep(held_ns, sleep):
    table = prices(byte_zeroed=held_ns / 1000)
    source = workload(3, 300, accesses={"written": 0.0})
    result = run(source, Arena, machine=Machine(cpus=3, costs=table))
    assert result.threads["wait_locks_ns"].sum() > 0
    assert (result.driver.policy.kernel.counts[Event.SLEEP] > 0) == sleep


@pytest.mark.parametrize("policy", [Pages, load_policy("glibc")])
def test_two_runs_are_equal(policy):
    source = workload(5, 1500, cross_thread_frees=0.1, think_ns=100)
    first, second = (run(source, policy, machine=Machine(cpus=2)) for _ in range(2))
    assert str(first.totals) == str(second.totals)
    for name in THREAD_COLUMNS:
        assert np.array_equal(first.threads[name], second.threads[name])
    assert all(np.array_equal(first.samples[k], second.samples[k]) for k in first.samples)


def test_what_a_thread_needs_from_another_is_waited_for():
    """All frees are made by the other thread, so each waits for what it is to free."""
    source = workload(2, 600, cross_thread_frees=1.0, live=3)
    result = run(source, machine=Machine(cpus=2, costs=prices(write_fault=1000.0)))
    assert result.totals["failed_requests"] == 0
    assert result.threads["wait_objects_ns"].sum() > 0


def test_threads_do_not_wait_for_each_others_slots():
    source = workload(4, 2000, live=2)
    result = run(source, machine=Machine(cpus=4, costs=prices(write_fault=1000.0)))
    assert result.threads["wait_objects_ns"].sum() == 0


def test_every_block_passes_the_referee():
    for policy in (Pages, load_policy("glibc")):
        source = workload(3, 900, cross_thread_frees=0.3)
        refereed_run = run(source, policy, referee=True, machine=Machine(cpus=2))
        plain = run(source, policy, machine=Machine(cpus=2))
        assert str(refereed_run.totals) == str(plain.totals)


def test_samples_are_taken_at_equal_distances_and_never_back_in_time():
    result = run(workload(3, 900), samples=30)
    assert list(result.samples["op"]) == [30 * (i + 1) for i in range(30)]
    assert np.all(np.diff(result.samples["time_ns"]) >= 0)


def test_operations_and_calls_are_reported_once_each():
    addresses, calls = [], []
    result = run(
        workload(3, 300), on_ops=lambda a, _: addresses.extend(a), on_syscalls=calls.extend
    )
    assert len(addresses) == 300
    assert len(calls) == result.totals["syscalls"]


def test_one_thread_has_a_row_that_waits_for_nobody():
    result = run(workload(1, 300))
    assert len(result.threads["thread"]) == 1
    assert time_of(result)[0] == result.totals["time_ns"]
    assert result.totals["threads_wait_mmap_lock_ns"] == 0


@pytest.mark.parametrize("vma_locks", [False, True])
def test_many_threads_on_few_cpus_come_to_an_end(vma_locks):
    """Spinning writers once kept the CPUs that sleepers before them in the queue needed."""
    source = workload(63, 2500, live=1, cross_thread_frees=0.5, accesses={"written": 0})
    options = {"cpus": 2, "vma_locks": vma_locks}
    result = run(source, load_policy("mmap_only"), machine=Machine(**options))
    assert result.totals["ops"] == 2500


def test_a_lock_that_is_never_given_back_is_an_error():
    class Forgetful(Pages):
        def free(self, address):
            self.kernel.lock(3)

    with pytest.raises(SimulationError, match="threads wait for ever"):
        run(workload(2, 200), Forgetful, machine=Machine(cpus=2))


def test_impossible_machines_are_refused():
    with pytest.raises(InputError, match=r"cpus: must be at least 1, not 0"):
        run(workload(2, 10), machine=Machine(cpus=0))
    with pytest.raises(InputError, match="vma_locks: must be true or false, not 2"):
        run(workload(2, 10), machine=Machine(vma_locks=2))


@pytest.mark.slow
def test_compiled_equals_interpreted():
    source = workload(4, 4000, cross_thread_frees=0.1, think_ns=50)
    one, *others = (
        run(source, Locked, mode=mode, machine=Machine(cpus=3))
        for mode in ("interpreted", "compiled", "mixed")
    )
    for other in others:
        assert str(one.totals) == str(other.totals)
        assert all(np.array_equal(one.samples[k], other.samples[k]) for k in one.samples)
        assert all(np.array_equal(one.threads[k], other.threads[k]) for k in one.threads)
