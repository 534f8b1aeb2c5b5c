"""Traces in memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_strategies import traces

from allocsim.errors import InputError
from allocsim.trace import COLUMNS, Op, Provenance, Trace


def test_columns_have_their_types_whatever_they_are_made_from():
    trace = Trace.of(op=[0, 4], object=[0, 0], size=[100, 0], think_ns=np.array([1, 2], np.uint8))
    assert {name: column.dtype for name, column in trace.columns().items()} == COLUMNS


def test_columns_left_out_get_their_defaults():
    trace = Trace.of(op=[Op.CALLOC, Op.TOUCH, Op.FREE], object=0, size=[100, 50, 0])
    assert trace.written.tolist() == [100, 0, 0]
    assert trace.thread.tolist() == trace.offset.tolist() == trace.time_ns.tolist() == [0, 0, 0]


def test_columns_are_read_only_and_the_callers_array_is_not():
    sizes = np.array([100])
    trace = Trace.of(op=[0], object=[0], size=sizes)
    with pytest.raises(ValueError, match="read-only"):
        trace.size[0] = 1
    sizes[0] = 2


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"op": [0, 0], "object": [0, 1, 2], "size": [1]}, "columns of a trace differ in length"),
        ({"op": [300], "object": [0], "size": [1]}, "300..300 does not fit uint8"),
        ({"op": [0], "object": [2**31], "size": [1]}, "does not fit int32"),
        ({"op": [0], "object": [0], "size": [1.5]}, "size of a trace holds float64"),
        ({"op": [0], "object": [0], "size": [float("nan")]}, "not whole numbers"),
        ({"op": [0], "object": [0], "size": ["x"]}, "not whole numbers"),
        ({"op": [0, 0], "object": [0, 1], "size": [1, 2, 3]}, "differ in length"),
        ({"op": [0], "object": [0], "size": [1], "sise": [1]}, "no column sise"),
    ],
)
def test_values_that_do_not_fit_are_refused(columns, reason):
    with pytest.raises(InputError, match=reason):
        Trace.of(**columns)


@settings(max_examples=50)
@given(trace=traces(), batch_ops=st.integers(1, 70))
def test_batches_hold_every_op_in_order(trace, batch_ops):
    batches = list(trace.batches(batch_ops))
    assert all(len(batch) <= batch_ops for batch in batches)
    again = Trace.concatenate(batches)
    assert all(np.array_equal(again.columns()[name], trace.columns()[name]) for name in COLUMNS)
    assert again.content_hash() == trace.content_hash()


def test_slots_and_threads_are_counted():
    trace = Trace.of(op=[0, 0, 7], object=[3, 1, -1], size=[1, 1, 0], thread=[0, 2, 0])
    assert (trace.n_ops, trace.n_slots, trace.n_threads) == (3, 4, 3)
    assert (trace[:0].n_ops, trace[:0].n_slots, trace[:0].n_threads) == (0, 0, 0)


def test_the_content_hash_is_of_the_ops_and_never_changes():
    trace = Trace.of(op=[0, 4], object=[0, 0], size=[100, 0])
    named = Trace.of(op=[0, 4], object=[0, 0], size=[100, 0], provenance=Provenance(program="ls"))
    # Stored results are found by this hash: a change would orphan them all.
    assert (
        trace.content_hash()
        == named.content_hash()
        == ("sha256:6e4cf5b48739f58c6a90a8e464ceed7fc2719f162dc38c096f77a6229a2bb39b")
    )


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_counts_for_the_content_hash(name):
    columns = {column: [1] for column in COLUMNS}
    changed = columns | {name: [2]}
    assert Trace.of(**columns).content_hash() != Trace.of(**changed).content_hash()
