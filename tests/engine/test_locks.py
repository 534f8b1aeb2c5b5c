"""Policies' locks and CPUs by themselves, on schedules worked out by hand."""

import pytest

from allocsim.engine.clock import Timeline, Turn
from allocsim.engine.locks import Cpus, PolicyLock


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
        if not cpus.take(turn):
            yield cpus.wait(turn.armed())
        got.append((number, timeline.now, turn.cpu))
        yield turn.armed().at(timeline.now + uses)
        cpus.give_back(turn)

    for number, (arrives, uses) in enumerate([(0, 100), (0, 30), (5, 10), (5, 10), (3, 50)]):
        timeline.process(thread(number, arrives, uses))
    timeline.play()
    assert got == [(0, 0, 0), (1, 0, 1), (4, 30, 1), (2, 80, 1), (3, 90, 1)]
    assert (cpus.free, cpus.running) == ({0, 1}, 0)
