"""The locks and CPUs by themselves, on schedules worked out by hand."""

import pytest

from allocsim.engine.clock import Timeline, Turn
from allocsim.engine.locks import SPIN_PS, Cpus, MmapLock, PolicyLock


class Bench:
    """Threads that each arrive once at mmap_lock, hold it for a while and leave; all is logged."""

    def __init__(self):
        self.timeline, self.lock = Timeline(), MmapLock()
        self.held = {}

    def thread(self, number, arrives, writes, hold, shared=0):
        turn = Turn(self.timeline, number)

        def live():
            yield turn.armed().at(arrives)
            if self.lock.is_open(writes, arrives):
                self.lock.hold(writes, arrives + hold, shared)
            else:
                yield self.lock.wait(turn.armed(), writes, not writes)
                self.lock.called(turn)
                self.lock.arrive(turn, self.timeline.now + hold, shared)
            self.held[number] = (self.timeline.now, self.timeline.now + hold)

        self.timeline.process(live())

    def run(self):
        self.timeline.play()
        return self.held


def test_readers_overlap_and_a_writer_waits_for_all_of_them():
    bench = Bench()
    bench.thread(0, arrives=0, writes=False, hold=100)
    bench.thread(1, arrives=10, writes=False, hold=50)
    bench.thread(2, arrives=20, writes=True, hold=30)
    bench.thread(3, arrives=40, writes=True, hold=5)
    assert bench.run() == {0: (0, 100), 1: (10, 60), 2: (100, 130), 3: (130, 135)}


def test_a_reader_does_not_pass_a_writer_that_came_first():
    bench = Bench()
    bench.thread(0, arrives=0, writes=False, hold=100)
    bench.thread(1, arrives=10, writes=True, hold=30)
    bench.thread(2, arrives=20, writes=False, hold=40)
    bench.thread(3, arrives=30, writes=False, hold=7)
    bench.thread(4, arrives=40, writes=True, hold=1)
    expected = {0: (0, 100), 1: (100, 130), 2: (130, 170), 3: (130, 137), 4: (170, 171)}
    assert bench.run() == expected


def test_a_writer_lets_readers_in_for_the_shared_end_of_its_hold():
    bench = Bench()
    bench.thread(0, arrives=0, writes=True, hold=100, shared=60)
    bench.thread(1, arrives=10, writes=False, hold=5)
    bench.thread(2, arrives=20, writes=True, hold=5)
    assert bench.run() == {0: (0, 100), 1: (40, 45), 2: (100, 105)}


def test_at_equal_times_the_lower_thread_number_goes_first():
    bench = Bench()
    for number in (2, 0, 1):
        bench.thread(number, arrives=10, writes=True, hold=10)
    assert bench.run() == {0: (10, 20), 1: (20, 30), 2: (30, 40)}


def test_an_areas_own_lock_keeps_faults_on_it_out_while_a_writer_changes_it():
    lock = MmapLock()
    lock.hold(True, 100, 40, 4096, 8192)
    assert lock.locks_area(4096, 8192, 59)
    assert not lock.locks_area(4096, 8192, 60)  # from here on as a reader
    assert not lock.locks_area(8192, 12288, 59)


def test_writers_spin_for_writers_and_for_readers_that_leave_soon():
    lock = MmapLock()
    lock.hold(True, 10 * SPIN_PS)
    assert lock.is_worth_spinning(0)
    lock = MmapLock()
    lock.hold(False, SPIN_PS)
    assert lock.is_worth_spinning(0)
    lock.hold(False, SPIN_PS + 1)
    assert not lock.is_worth_spinning(0)


def test_nobody_spins_behind_a_sleeper_who_may_need_the_cpu():
    timeline, lock = Timeline(), MmapLock()
    lock.hold(True, 100)
    spinner, sleeper = Turn(timeline, 0), Turn(timeline, 1)
    lock.wait(spinner.armed(), True, sleeps=False)
    assert lock.is_worth_spinning(0)
    lock.wait(sleeper.armed(), False, sleeps=True)
    assert not lock.is_worth_spinning(0)
    lock.called(spinner)
    lock.arrive(spinner, 200)
    lock.called(sleeper)
    lock.arrive(sleeper, 300)
    assert lock.sleepers == 0
    assert lock.is_worth_spinning(300)


@pytest.mark.parametrize(("again", "then"), [(False, 150), (True, 1050)])
def test_a_policys_lock_goes_to_who_runs_before_who_must_wake_up(again, then):
    """Given back at 100, the sleeper looks at 150; if it was taken again, 50 after its return."""
    timeline, free_at = Timeline(), [0]
    lock = PolicyLock(free_at, 0, wake_delay=50)
    taken = []

    def owner():
        turn = Turn(timeline, 0)
        lock.take()
        yield turn.armed().at(100)
        lock.give_back(100)
        if again:
            yield turn.armed().at(120)
            assert lock.is_open(120)
            lock.take()
            yield turn.armed().at(1000)
            lock.give_back(1000)

    def sleeper():
        turn = Turn(timeline, 1)
        yield turn.armed().at(10)
        assert not lock.is_open(10)
        yield lock.wait(turn.armed())
        while not lock.look(timeline.now):
            yield turn.armed()
        lock.take()
        taken.append(timeline.now)

    timeline.process(owner())
    timeline.process(sleeper())
    timeline.play()
    assert taken == [then]


def test_cpus_go_to_who_came_first():
    timeline, cpus, got = Timeline(), Cpus(2), []

    def thread(number, arrives, uses):
        turn = Turn(timeline, number)
        yield turn.armed().at(arrives)
        if not cpus.take():
            yield cpus.wait(turn.armed())
        got.append((number, timeline.now))
        yield turn.armed().at(timeline.now + uses)
        cpus.give_back()

    for number, (arrives, uses) in enumerate([(0, 100), (0, 30), (5, 10), (5, 10), (3, 50)]):
        timeline.process(thread(number, arrives, uses))
    timeline.play()
    assert got == [(0, 0), (1, 0), (4, 30), (2, 80), (3, 90)]
    assert (cpus.free, cpus.running) == (2, 0)
