"""mmap_lock by itself, on schedules worked out by hand; a sleeper is woken within 50."""

import pytest

from allocsim.engine.clock import NEVER_PS, Timeline, Turn
from allocsim.engine.locks import Cpus
from allocsim.engine.mmap_lock import HANDOFF_PS, SPIN_PS, TOO_LATE_PS, MmapLock

WAKE_DELAY = 50


class Bench:
    """Threads that each arrive once at mmap_lock, hold it for a while and leave; all is logged.

    A reader that is woken runs at once, so that `held` says when it got the lock. `asleep`: who
    went to sleep after spinning, and when.
    """

    def __init__(self, wake_delay=WAKE_DELAY):
        self.timeline, self.lock = Timeline(), MmapLock(wake_delay, Cpus(1))
        self.turns, self.held, self.asleep = {}, {}, {}

    def thread(
        self, number, arrives, writes, hold, shared=0, sleeps=None, interrupts_at=NEVER_PS
    ):  # fmt: skip
        turn = self.turns[number] = Turn(self.timeline, number)
        turn.fall_asleep = lambda: self.asleep.update({number: self.timeline.now})

        def live():
            yield turn.armed().at(arrives)
            if not self.lock.is_open(writes, arrives):
                spins = writes if sleeps is None else not sleeps
                yield self.lock.wait(turn.armed(), writes, not spins, arrives)
                while not self.lock.look(turn, self.timeline.now):
                    yield turn.armed()
            until = self.timeline.now + hold
            self.lock.hold(turn, writes, until, shared, interrupts_at=interrupts_at)
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


def test_readers_pass_a_writer_that_spins_but_not_one_that_sleeps():
    bench = Bench()
    bench.thread(0, arrives=0, writes=False, hold=100)
    bench.thread(1, arrives=10, writes=True, hold=30)
    bench.thread(2, arrives=20, writes=False, hold=90)
    bench.thread(3, arrives=30, writes=True, hold=5, sleeps=True)
    bench.thread(4, arrives=40, writes=False, hold=7)
    held = bench.run()
    assert held == {0: (0, 100), 1: (110, 140), 2: (20, 110), 3: (160, 165), 4: (165, 172)}


def test_a_writer_lets_readers_in_for_the_shared_end_of_its_hold():
    bench = Bench()
    bench.thread(0, arrives=0, writes=True, hold=100, shared=60)
    bench.thread(1, arrives=10, writes=False, hold=5)
    bench.thread(2, arrives=20, writes=True, hold=5)
    assert bench.run() == {0: (0, 100), 1: (40, 45), 2: (100, 105)}


def test_a_reader_that_comes_late_to_the_shared_end_delays_who_spins():
    bench = Bench()
    bench.thread(0, arrives=0, writes=True, hold=100, shared=60)
    bench.thread(1, arrives=10, writes=True, hold=5)
    bench.thread(2, arrives=20, writes=False, hold=90)
    assert bench.run() == {0: (0, 100), 1: (130, 135), 2: (40, 130)}


def test_at_equal_times_the_lower_thread_number_goes_first():
    bench = Bench()
    for number in (2, 0, 1):
        bench.thread(number, arrives=10, writes=True, hold=10)
    assert bench.run() == {0: (10, 20), 1: (20, 30), 2: (30, 40)}


def test_a_writer_that_runs_takes_the_lock_before_one_that_wakes_up():
    """0 leaves at 100 and wakes 1, which looks at 150, when 2 has it, until 160, and so at 210."""
    bench = Bench()
    bench.thread(0, arrives=0, writes=True, hold=100)
    bench.thread(1, arrives=10, writes=True, hold=5, sleeps=True)
    bench.thread(2, arrives=120, writes=True, hold=40)
    bench.thread(3, arrives=170, writes=False, hold=10)
    assert bench.run() == {0: (0, 100), 1: (210, 215), 2: (120, 160), 3: (170, 180)}
    assert (bench.turns[0].wakings, bench.turns[2].wakings) == (1, 1)


def test_a_writer_that_spins_is_faster_than_one_that_sleeps():
    bench = Bench()
    bench.thread(0, arrives=0, writes=True, hold=100)
    bench.thread(1, arrives=10, writes=True, hold=5, sleeps=True)
    bench.thread(2, arrives=20, writes=True, hold=20)
    assert bench.run() == {0: (0, 100), 1: (150, 155), 2: (100, 120)}


def test_nobody_passes_a_sleeper_that_has_waited_for_long():
    """1 looks in vain once after its time; from then on the lock is kept for it."""
    bench = Bench()
    bench.thread(0, arrives=0, writes=True, hold=HANDOFF_PS)
    bench.thread(1, arrives=0, writes=True, hold=5, sleeps=True)
    bench.thread(2, arrives=HANDOFF_PS + 10, writes=True, hold=60)
    bench.thread(3, arrives=HANDOFF_PS + 80, writes=True, hold=1, sleeps=True)
    held = bench.run()
    assert held[1] == (HANDOFF_PS + 120, HANDOFF_PS + 125)
    assert held[3] == (HANDOFF_PS + 175, HANDOFF_PS + 176)


@pytest.mark.parametrize(("stays", "gets"), [(SPIN_PS, SPIN_PS), (SPIN_PS + 9, SPIN_PS + 59)])
def test_who_has_spun_on_readers_for_long_goes_to_sleep(stays, gets):
    bench = Bench()
    bench.thread(0, arrives=0, writes=False, hold=stays)
    bench.thread(1, arrives=0, writes=True, hold=10)
    assert bench.run()[1] == (gets, gets + 10)
    assert bench.asleep == ({} if stays == SPIN_PS else {1: SPIN_PS})


def test_the_time_for_readers_begins_where_the_writer_becomes_one():
    bench = Bench()
    bench.thread(0, arrives=0, writes=True, hold=2 * SPIN_PS, shared=SPIN_PS)
    bench.thread(1, arrives=0, writes=True, hold=10)
    assert bench.run()[1] == (2 * SPIN_PS, 2 * SPIN_PS + 10)
    assert bench.asleep == {}


def test_whoever_spun_in_vain_keeps_others_from_trying_until_a_writer_had_the_lock():
    bench = Bench()
    bench.thread(0, arrives=0, writes=False, hold=2 * SPIN_PS)
    bench.thread(1, arrives=0, writes=True, hold=10)
    seen = []

    def watcher(turn, at):
        yield turn.armed().at(at)
        seen.append(bench.lock.is_worth_spinning())

    for number, at in enumerate((SPIN_PS - 1, SPIN_PS + 1, 2 * SPIN_PS + WAKE_DELAY + 1)):
        bench.timeline.process(watcher(Turn(bench.timeline, 5 + number), at))
    bench.run()
    assert seen == [True, False, True]


@pytest.mark.parametrize(
    ("shared", "arrives", "taken"),
    [
        (TOO_LATE_PS + 1, 0, WAKE_DELAY),
        (TOO_LATE_PS, 0, 0),
        (TOO_LATE_PS + 1, 10_000_000 - TOO_LATE_PS, 0),  # it did not see the readers for so long
        (9_000_000, 7_500_000, 0),  # it came after the interrupt
    ],
)
def test_who_is_interrupted_while_it_spins_may_find_its_time_over(shared, arrives, taken):
    """0 is a reader until 10 us and stops 1's CPU at 7 us, until it leaves."""
    bench, end = Bench(), 10_000_000
    bench.thread(0, 0, writes=True, hold=end, shared=shared, interrupts_at=7_000_000)
    bench.thread(1, arrives, writes=True, hold=10)
    assert bench.run()[1] == (end + taken, end + taken + 10)
    assert bench.asleep == ({1: end} if taken else {})


def test_an_interrupt_that_comes_later_than_sleep_changes_nothing():
    bench = Bench()
    bench.thread(0, 0, writes=True, hold=30_000_000, shared=29_000_000, interrupts_at=25_000_000)
    bench.thread(1, 500_000, writes=True, hold=10)
    bench.run()
    assert bench.asleep == {1: 1_000_000 + SPIN_PS}


def test_a_reader_that_was_called_is_waited_for_after_an_interrupt():
    """It holds the lock from 1 us on, but runs at 6 only: 2 once looked for it for ever."""
    bench = Bench()
    reader = Turn(bench.timeline, 1)

    def reads():
        yield reader.armed().at(500_000)
        yield bench.lock.wait(reader.armed(), False, True, 500_000)
        assert bench.lock.look(reader, bench.timeline.now)
        yield reader.armed().at(6_000_000)
        bench.lock.hold(reader, False, 7_000_000)

    bench.thread(0, 0, writes=True, hold=5_000_000, shared=4_000_000, interrupts_at=4_000_000)
    bench.timeline.process(reads())
    bench.thread(2, 4_500_000, writes=True, hold=10)
    assert bench.run()[2] == (7_000_000, 7_000_010)


def test_an_areas_own_lock_keeps_faults_on_it_out_while_a_writer_changes_it():
    lock = MmapLock(WAKE_DELAY, Cpus(1))
    lock.hold(Turn(Timeline(), 0), True, 100, 40, 4096, 8192)
    assert lock.locks_area(4096, 8192, 59)
    assert not lock.locks_area(4096, 8192, 60)  # from here on as a reader
    assert not lock.locks_area(8192, 12288, 59)


def test_a_writer_waits_for_faults_in_flight_in_its_area_only():
    timeline = Timeline()
    writer, first, second, away = (Turn(timeline, number) for number in range(4))
    lock = MmapLock(WAKE_DELAY, Cpus(1))
    lock.fault(first, 100, 4096, 8192)
    lock.fault(second, 120, 8192, 12288)
    lock.fault(away, 500, 1 << 20, 2 << 20)
    assert lock.faults_in(0, 12288, 99)
    assert not lock.faults_in(0, 4096, 99)
    assert not lock.faults_in(0, 12288, 120)
    lock.drain(writer.armed(), 0, 12288)
    assert (first.wakings, second.wakings, away.wakings) == (0, 1, 0)
    assert timeline.appointments[0][0] == 120
    assert lock.locks_area(4096, 8192, 110)
    assert not lock.is_open(False, 110)
    assert not lock.is_worth_spinning()
    lock.hold(writer, True, 200, 0, 0, 12288)
    assert not lock.is_open(False, 199)
    assert lock.is_open(True, 200)


def test_who_spins_sleeps_as_soon_as_the_writer_does():
    """0 leaves at 20; 1 takes the lock and waits for a fault until 30, and 2 falls asleep."""
    bench = Bench()
    faulting = Turn(bench.timeline, 8)
    bench.lock.fault(faulting, 30, 0, 4096)
    writer = Turn(bench.timeline, 1)

    def drains():
        yield writer.armed().at(5)
        yield bench.lock.wait(writer.armed(), True, False, 5)
        assert bench.lock.look(writer, bench.timeline.now)
        yield bench.lock.drain(writer.armed(), 0, 4096)
        bench.lock.hold(writer, True, 90)

    bench.thread(0, arrives=0, writes=True, hold=20)
    bench.timeline.process(drains())
    bench.thread(2, arrives=10, writes=True, hold=5)
    assert bench.run() == {0: (0, 20), 2: (140, 145)}
    assert bench.asleep == {2: 20}


def test_a_reader_that_was_passed_for_too_long_leaves_an_open_lock():
    bench, end = Bench(), 2 * HANDOFF_PS
    bench.thread(0, arrives=0, writes=True, hold=end)
    bench.thread(1, arrives=10, writes=True, hold=30)  # spins, and comes before the reader
    bench.thread(2, arrives=20, writes=False, hold=5)
    assert bench.run() == {0: (0, end), 1: (end, end + 30), 2: (end + 30, end + 35)}
    assert bench.lock.is_open(False, end + 40)
    assert bench.lock.is_open(True, end + 40)


def test_waking_may_take_no_time():
    bench = Bench(wake_delay=0)
    bench.thread(2, arrives=0, writes=True, hold=100)
    bench.thread(0, arrives=10, writes=True, hold=5, sleeps=True)
    bench.thread(1, arrives=20, writes=True, hold=30)
    held = bench.run()
    assert held[1] == (100, 130)
    assert 130 <= held[0][0] <= 131
