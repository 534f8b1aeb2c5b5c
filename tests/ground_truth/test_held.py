"""A stopped replay, read from outside."""

from pathlib import Path

import pytest

from allocsim.ground_truth import ReplayError, replay
from allocsim.ground_truth.held import Unreadable, held
from allocsim.trace import Op, Trace


@pytest.fixture(autouse=True, scope="module")
def _memory_can_be_read() -> None:
    """Skips where one program must not read another's memory, as in some containers."""
    try:
        with held(Trace.of(op=Op.MALLOC, object=[0], size=[1])):
            pass
    except Unreadable as error:
        pytest.skip(str(error))


def test_memory_is_read_where_it_is_and_refused_where_it_is_not():
    trace = Trace.of(op=Op.MALLOC, object=[0, 1], size=[1000, 40])
    first, second = replay(trace).address.tolist()
    with held(trace) as process:
        assert process.word(first - 8) == (second - first) | 1
        heap = next(m for m in process.mappings() if m.name == "[heap]")
        assert heap.low < first < heap.high and heap.mode == "rw-p"
        assert process.word(heap.high - 8) == 0
        for address in (0, heap.high, 2**63):
            with pytest.raises(Unreadable):
                process.word(address)


def test_the_program_ends_with_the_context():
    with held(Trace.of(op=Op.MALLOC, object=[0], size=[1])) as process:
        folder = Path(f"/proc/{process.pid}")
        assert (folder / "stat").read_text().split()[2] == "T"  # stopped
    assert not folder.exists()


def test_a_replay_that_dies_tells_why():
    trace = Trace.of(op=[Op.MALLOC, Op.TOUCH], object=0, size=[1, 8], offset=[0, 1 << 40])
    with pytest.raises(ReplayError, match="died at op 1"), held(trace):
        pass
