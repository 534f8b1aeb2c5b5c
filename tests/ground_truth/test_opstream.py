"""The binary form of ops."""

import pytest

from allocsim.errors import InputError
from allocsim.ground_truth import packed
from allocsim.ground_truth.opstream import RECORD, pack
from allocsim.trace import Op, Trace


def test_a_record_is_as_the_replayer_declares_it() -> None:
    assert RECORD.itemsize == 32


def test_columns_share_fields() -> None:
    trace = Trace.of(
        op=[Op.ALIGNED_ALLOC, Op.TOUCH, Op.MMAP, Op.MARK],
        object=[5, 5, 6, -1],
        size=[100, 10, 4096, 0],
        thread=[0, 300, 1, 0],
        alignment=[64, 0, 0, 0],
        written=[7, 0, 0, 0],
        offset=[0, 90, 0, 0],
        arg=[0, 0, 3, 17],
    )
    records = pack(trace, 7, 301)
    assert records["size"].tolist() == [100, 10, 4096, 0]
    assert records["extent"].tolist() == [7, 90, 0, 0]
    assert records["detail"].tolist() == [64, 0, 3, 17]
    assert records["object"].tolist() == [5, 5, 6, 0]
    assert (records["kind_and_thread"] & 255).tolist() == trace.op.tolist()
    assert (records["kind_and_thread"] >> 8).tolist() == [0, 300, 1, 0]


def test_numbers_beyond_what_the_source_announced_are_refused() -> None:
    trace = Trace.of(op=[Op.MALLOC], object=[3], size=[1], thread=[2])
    with pytest.raises(InputError, match="2 threads has an op with thread 2"):
        pack(trace, 4, 2)
    with pytest.raises(InputError, match="3 objects has an op with object 3"):
        pack(trace, 3, 3)


def test_a_packed_trace_lasts_as_long_as_the_context() -> None:
    trace = Trace.of(op=[Op.MALLOC, Op.MARK], object=[0, -1], size=[1, 0])
    with packed(trace) as stream:
        assert (stream.n_ops, stream.n_slots, stream.n_threads) == (2, 1, 1)
        assert stream.path.stat().st_size == 64
    assert not stream.path.exists()
