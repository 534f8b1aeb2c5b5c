"""Traces that make no sense are refused, each with its row and reason."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_strategies import traces

from allocsim.errors import InputError
from allocsim.trace import Op, Trace, Validator, compiled, validated
from allocsim.trace.ops import MAX_SIZE_BYTES
from allocsim.trace.slots import LIVE, LIVE_PEAK, MAPPED, MAPPED_PEAK

PAGE = 4096
ROWS = ("op", "object", "size", "alignment", "written", "offset", "arg")


def trace_of(*rows: tuple[int, ...], **columns) -> Trace:
    """A trace from rows of op, object, size, and what else is needed, in the order of `ROWS`."""
    values = [[*row, *[0] * (len(ROWS) - len(row))] for row in rows]
    return Trace.of(**dict(zip(ROWS, zip(*values, strict=True), strict=True)), **columns)


def check(trace: Trace) -> Validator:
    validator = Validator("t.parquet")
    validator.check(trace)
    return validator


def reason(trace: Trace) -> str:
    with pytest.raises(InputError) as caught:
        check(trace)
    return str(caught.value)


MALLOC, MAP = (Op.MALLOC, 0, 100), (Op.MMAP, 0, 4 * PAGE)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(Op.FREE, 0, 0)], "row 0: free of slot 0, which is empty"),
        ([MALLOC, (Op.FREE, 0, 0), (Op.FREE, 0, 0)], "row 2: free of slot 0, which is empty"),
        ([(Op.TOUCH, 3, 8)], "row 0: touch of slot 3, which is empty"),
        ([(Op.READ, 0, 8)], "row 0: read of slot 0, which is empty"),
        ([MALLOC, (Op.REALLOC, 0, 0), (Op.FREE, 0, 0)], "row 2: free of slot 0, which is empty"),
        ([MALLOC, MALLOC], "row 1: malloc into slot 0, which is live with 100 bytes"),
        ([MALLOC, (Op.CALLOC, 0, 5)], "row 1: calloc into slot 0, which is live"),
        ([MALLOC, (Op.ALIGNED_ALLOC, 0, 5, 16)], "row 1: aligned_alloc into slot 0, which is live"),
        ([MALLOC, MAP], "row 1: mmap into slot 0, which is live"),
        ([MAP, MALLOC], "row 1: malloc into slot 0, which is live"),
        ([MALLOC, (Op.TOUCH, 0, 1, 0, 0, 100)], "row 1: touch of 1 bytes at offset 100 of slot 0"),
        ([MALLOC, (Op.READ, 0, 101)], "which spans bytes 0 to 100"),
        ([(Op.MALLOC, 0, -5)], "row 0: malloc with negative size -5"),
        ([(Op.MALLOC, 0, MAX_SIZE_BYTES + 1)], "row 0: malloc with absurd size 140737488355329"),
        ([(Op.MALLOC, -1, 5)], "row 0: malloc with object -1; right is 0 to"),
        ([(Op.MALLOC, -2, 5)], "row 0: object -2; the trace has slots"),
        ([(Op.MARK, 0, 0)], "row 0: mark with object 0; it must be -1"),
        ([(99, 0, 5)], "row 0: unknown op 99; ops are 0 (malloc) to 11 (madvise)"),
        ([MALLOC, (Op.FREE, 0, 100)], "row 1: free with size 100; it must be 0"),
        ([(Op.ALIGNED_ALLOC, 0, 5, 24)], "row 0: aligned_alloc with alignment 24; it must be a po"),
        ([(Op.ALIGNED_ALLOC, 0, 5, 0)], "row 0: aligned_alloc with alignment 0; right is 1 to"),
        ([(Op.MALLOC, 0, 5, 8)], "row 0: malloc with alignment 8; it must be 0"),
        ([(Op.MALLOC, 0, 5, 0, 6)], "row 0: malloc of 5 bytes with 6 written"),
        ([(Op.MALLOC, 0, 5, 0, -1)], "row 0: malloc of 5 bytes with -1 written"),
        ([MALLOC, (Op.TOUCH, 0, 5, 0, 5)], "row 1: touch of 5 bytes with 5 written"),
        ([(Op.MALLOC, 0, 5, 0, 0, 1)], "row 0: malloc with offset 1; it must be 0"),
        ([(Op.MALLOC, 0, 5, 0, 0, 0, 1)], "row 0: malloc with arg 1; it must be 0"),
        ([(Op.MMAP, 0, 0)], "row 0: mmap with size 0; right is 1 to"),
        ([(Op.MMAP, 0, 5, 0, 0, 0, 8)], "row 0: mmap with arg 8; right is 0 to 7"),
        ([MAP, (Op.FREE, 0, 0)], "row 1: free of slot 0, which is a mapping"),
        ([MAP, (Op.REALLOC, 0, 5)], "row 1: realloc of slot 0, which is a mapping"),
        ([MALLOC, (Op.MUNMAP, 0, PAGE)], "row 1: munmap of slot 0, which is a block from malloc"),
        ([MALLOC, (Op.MREMAP, 0, PAGE)], "row 1: mremap of slot 0, which is a block from malloc"),
        ([MALLOC, (Op.MADVISE, 0, 9)], "row 1: madvise of slot 0, which is a block from malloc"),
        ([(Op.MUNMAP, 0, PAGE)], "row 0: munmap of slot 0, which is empty"),
        ([MAP, (Op.MUNMAP, 0, 5 * PAGE)], "row 1: munmap of 20480 bytes at offset 0 of slot 0"),
        ([MAP, (Op.MUNMAP, 0, 5, 0, 0, 100)], "row 1: munmap at offset 100; mappings change at"),
        (
            [MAP, (Op.MUNMAP, 0, PAGE, 0, 0, PAGE), (Op.MUNMAP, 0, 4 * PAGE)],
            "row 2: munmap of slot 0 across a part that is already unmapped",
        ),
        (
            [MAP, (Op.MUNMAP, 0, PAGE, 0, 0, PAGE), (Op.MREMAP, 0, 9 * PAGE)],
            "row 2: mremap of slot 0 across a part that is already unmapped",
        ),
        ([MAP, (Op.MUNMAP, 0, PAGE), (Op.READ, 0, 8)], "spans bytes 4096 to 16384"),
    ],
)
@pytest.mark.parametrize("compile_after_ops", [10**9, 0], ids=["interpreted", "compiled"])
def test_refused(rows, message, compile_after_ops, monkeypatch):
    monkeypatch.setattr(compiled, "COMPILE_AFTER_OPS", compile_after_ops)
    assert message in reason(trace_of(*rows))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"thread": [-1]}, "row 0: thread -1; the trace has threads 0 to"),
        ({"time_ns": [-1]}, "row 0: time_ns -1; times are not negative"),
        ({"think_ns": [-7]}, "row 0: think_ns -7; times are not negative"),
    ],
)
def test_other_columns_are_checked(columns, message):
    assert message in reason(Trace.of(op=[0], object=[0], size=[1], **columns))


def test_the_first_wrong_row_is_the_one_told():
    rows = [MALLOC, (Op.FREE, 1, 0), (Op.MALLOC, 2, -5), (77, 0, 0)]
    assert "row 1: free" in reason(trace_of(*rows))
    assert "row 1: malloc with negative" in reason(trace_of(rows[0], *rows[2:]))
    assert "row 1: unknown op" in reason(trace_of(rows[0], *rows[:1:-1]))


@pytest.mark.parametrize(("slot", "thread"), [(5, 0), (0, 2)])
def test_slots_and_threads_beyond_those_declared_are_refused(slot, thread):
    trace = Trace.of(op=[0], object=[slot], size=[1], thread=[thread])
    with pytest.raises(InputError, match=r"row 0: (object 5|thread 2); the trace has"):
        Validator("t", n_slots=5, n_threads=2).check(trace)


def test_rows_count_over_batches():
    trace = trace_of(MALLOC, (Op.FREE, 0, 0), (Op.FREE, 0, 0))
    batches = validated(trace, batch_ops=1)
    assert [next(batches).op.tolist(), next(batches).op.tolist()] == [[Op.MALLOC], [Op.FREE]]
    with pytest.raises(InputError, match="trace: row 2: free"):
        next(batches)


@pytest.mark.parametrize(
    "rows",
    [
        [(Op.REALLOC, 0, 10), (Op.FREE, 0, 0)],  # realloc(NULL, 10)
        [(Op.REALLOC, 0, 0), (Op.FREE, 0, 0)],  # realloc(NULL, 0) is malloc(0)
        [MALLOC, (Op.REALLOC, 0, 0), MALLOC],
        [MALLOC, (Op.REALLOC, 0, 500), (Op.READ, 0, 500)],
        [(Op.MALLOC, 0, 0), (Op.TOUCH, 0, 0), (Op.FREE, 0, 0)],
        [(Op.MMAP, 0, 100), (Op.READ, 0, PAGE), (Op.MUNMAP, 0, 50), MALLOC],  # whole pages
        [MAP, (Op.MUNMAP, 0, PAGE), (Op.MUNMAP, 0, 3 * PAGE, 0, 0, PAGE), MALLOC],
        [
            MAP,
            (Op.MUNMAP, 0, PAGE, 0, 0, PAGE),
            (Op.MUNMAP, 0, PAGE),
            (Op.MUNMAP, 0, 2 * PAGE, 0, 0, 2 * PAGE),
            MALLOC,
        ],
        [MAP, (Op.MUNMAP, 0, PAGE), (Op.MREMAP, 0, 9 * PAGE), (Op.READ, 0, 9 * PAGE, 0, 0, PAGE)],
        [MAP, (Op.MADVISE, 0, 2 * PAGE, 0, 0, 2 * PAGE, 4)],
        [(Op.MARK, -1, 0, 0, 0, 0, 2**62)],
    ],
)
def test_accepted(rows):
    check(trace_of(*rows))


def test_totals_follow_blocks_and_mappings():
    rows = [MALLOC, (Op.MALLOC, 1, 50), (Op.FREE, 0, 0), (Op.REALLOC, 1, 60), (Op.MMAP, 0, 1)]
    totals = check(trace_of(*rows, (Op.MUNMAP, 0, PAGE))).slots.totals
    assert totals[[LIVE, LIVE_PEAK, MAPPED, MAPPED_PEAK]].tolist() == [60, 150, 0, PAGE]


@pytest.mark.slow
@given(traces())
def test_random_valid_traces_are_accepted(trace):
    check(trace)


@pytest.mark.slow
@settings(deadline=None)
@given(traces(), st.data())
def test_interpreted_and_compiled_checks_agree(trace, data):
    columns = {name: column.copy() for name, column in trace.columns().items()}
    for _ in range(data.draw(st.integers(0, 3)) if len(trace) else 0):
        name = data.draw(st.sampled_from([*columns]))
        row = data.draw(st.integers(0, len(trace) - 1))
        columns[name][row] = data.draw(st.sampled_from([0, 1, 2, 3, 4, 9, 100, 120]))
    assert _verdict(Trace(**columns), 10**9) == _verdict(Trace(**columns), 0)


def _verdict(trace: Trace, compile_after_ops: int) -> tuple[str, list[int]]:
    validator = Validator("t")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "COMPILE_AFTER_OPS", compile_after_ops)
        try:
            validator.check(trace)
        except InputError as error:
            return str(error), validator.slots.totals.tolist()
    return "accepted", validator.slots.totals.tolist()
