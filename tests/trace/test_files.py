"""Trace files: what is written is read back; what is not sound is refused."""

import json
import os
import resource
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trace_strategies import traces

from allocsim.errors import InputError, OutputError
from allocsim.trace import (
    COLUMNS,
    Op,
    Provenance,
    Trace,
    TraceWriter,
    open_trace,
    validated,
    write_trace,
)
from allocsim.trace.schema import METADATA_KEY, SCHEMA

FOLDER_FOR_ALL_EXAMPLES = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)

PROVENANCE = Provenance(
    program="git",
    arguments=("log", "--oneline", "\udce9"),
    machine="x86-64, Linux 6.1",
    c_library="glibc 2.36",
    recorded_at="2026-11-22T11:00:00Z",
    written_source="estimated",
    notes="two\nlines",
    extras={"peak_rss_bytes": 1 << 40, "shares": {"malloc": 0.5}},
)


def churn(n_ops: int = 20_000) -> Trace:
    """Blocks of a few sizes, each freed 100 ops later."""
    rows = np.arange(n_ops)
    op = np.where(rows // 100 % 2 == 0, Op.MALLOC, Op.FREE)
    size = np.where(op == Op.MALLOC, 16 * (1 + rows * 7919 % 61), 0)
    return Trace.of(op=op, object=rows % 100, size=size, time_ns=rows * 150, think_ns=rows % 90)


def same(one: Trace, two: Trace) -> bool:
    return all(np.array_equal(one.columns()[name], two.columns()[name]) for name in COLUMNS)


def names_beside(path) -> list[str]:
    return [file.name for file in path.parent.iterdir()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "t.parquet"


# --- round trips ---


@pytest.mark.slow
@FOLDER_FOR_ALL_EXAMPLES
@given(trace=traces(), write_ops=st.integers(1, 70), read_ops=st.integers(1, 70))
def test_a_trace_comes_back_whatever_the_batches(trace, write_ops, read_ops, path):
    write_trace(path, trace.batches(write_ops))
    file = open_trace(path)
    assert same(Trace.concatenate(file.batches(read_ops)), trace)
    assert file.content_hash() == trace.content_hash()
    counts = (file.n_ops, file.n_slots, file.n_threads)
    assert counts == (trace.n_ops, trace.n_slots, trace.n_threads)
    file.verify()


def test_provenance_comes_back(path):
    write_trace(path, churn(10), PROVENANCE)
    file = open_trace(path)
    assert file.provenance == PROVENANCE
    assert all(batch.provenance == PROVENANCE for batch in file.batches())


def test_provenance_may_be_completed_until_the_end(path):
    with TraceWriter(path) as writer:
        writer.append(churn(10))
        writer.provenance = PROVENANCE
    assert open_trace(path).provenance == PROVENANCE


def test_an_empty_trace(path):
    write_trace(path, [])
    file = open_trace(path)
    assert (file.n_ops, file.n_slots, list(file.batches())) == (0, 0, [])


def test_batches_have_one_type_wherever_they_come_from(path):
    write_trace(path, churn(1000))
    read = next(iter(open_trace(path).batches(100)))
    for name, column in churn(1000)[:100].columns().items():
        other = read.columns()[name]
        assert (column.dtype, column.flags.c_contiguous) == (other.dtype, other.flags.c_contiguous)
        assert not column.flags.writeable and not other.flags.writeable


def test_constant_columns_cost_almost_nothing(path):
    write_trace(path, Trace.of(op=[Op.MARK] * 300_000, object=-1, size=0))
    assert open_trace(path).size_bytes / 300_000 < 0.05


def test_a_file_is_small(path):
    write_trace(path, churn(300_000))
    assert open_trace(path).size_bytes / 300_000 < 2


# --- writing is all or nothing ---


def test_nothing_is_left_of_a_trace_that_makes_no_sense(path):
    with pytest.raises(InputError, match=r"t\.parquet: row 10: free of slot 50"):
        write_trace(path, [churn(10), Trace.of(op=[Op.FREE], object=[50], size=[0])])
    assert names_beside(path) == []


def test_the_older_file_stays_when_writing_fails(path):
    write_trace(path, churn(10))
    with pytest.raises(InputError):
        write_trace(path, [Trace.of(op=[Op.FREE], object=[3], size=[0])])
    assert open_trace(path).n_ops == 10
    assert names_beside(path) == [path.name]


def test_a_full_disk_is_told_and_leaves_nothing(path):
    sizes = np.random.default_rng(1).integers(2**40, size=400_000)
    noise = Trace.of(op=[Op.MALLOC], object=np.arange(400_000), size=sizes)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"t\.parquet: cannot write: File too large$"):
            write_trace(path, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names_beside(path) == []


@pytest.mark.parametrize("target", ["/dev/null", "."])
def test_only_ordinary_files_are_replaced(target):
    with pytest.raises(InputError, match="not an ordinary file"):
        TraceWriter(target)


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        TraceWriter(tmp_path / "no" / "t.parquet")


def test_slot_numbers_far_beyond_the_ops_are_refused(path):
    with pytest.raises(InputError, match="n_slots is 2000000001, more than"):
        write_trace(path, [Trace.of(op=[0], object=[2_000_000_000], size=[1])])


# --- files that are not sound ---


def table(path, **changes) -> pa.Table:
    """The table of a sound file with some columns replaced."""
    write_trace(path, churn(1000))
    sound = pq.read_table(path)
    for name, column in changes.items():
        index = SCHEMA.get_field_index(name)
        sound = sound.set_column(index, pa.field(name, column.type, column.null_count > 0), column)
    return sound


def description(path) -> dict:
    return json.loads(pq.read_metadata(path).metadata[METADATA_KEY])


def rewrite(path, content: pa.Table, metadata: bytes | dict) -> None:
    text = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
    pq.write_table(content.replace_schema_metadata({METADATA_KEY: text}), path)


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        for _ in validated(open_trace(path)):
            pass
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message


def test_a_missing_file(path):
    assert "cannot be read: No such file" in refusal(path)


def test_a_folder(tmp_path):
    assert "it is a folder, not a file" in refusal(tmp_path)


def test_no_file_has_a_nul_in_its_name():
    with pytest.raises(InputError, match="no file can have this name"):
        open_trace("t\0.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"hello world" * 50, bytes(5000)])
def test_other_files(path, content):
    path.write_bytes(content)
    assert "not a sound trace file" in refusal(path)


def test_foreign_parquet(path):
    pq.write_table(pa.table({"op": [1, 2]}), path)
    assert "a Parquet file, but not of allocsim" in refusal(path)


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def with_page_of(path, n_bytes: int, n_bytes_compressed: int, n_values: int = 2000) -> None:
    """A trace whose column of sizes has a page header, in Thrift's words, that says so."""
    write_trace(path, churn(2000))
    start = pq.ParquetFile(path).metadata.row_group(0).column(3).data_page_offset
    numbers = [varint(2 * number) for number in (n_bytes, n_bytes_compressed, n_values)]
    header = b"\x15\0\x15%b\x15%b\x2c\x15%b\x15\x12\x15\6\x15\6\0\0" % tuple(numbers)
    content = bytearray(path.read_bytes())
    content[start : start + len(header)] = header
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ((2**31 - 1, 100), "has a page of 2147483647 bytes, more than 16777216, the most"),
        ((16000, 2**31 - 1), "has a page of 2147483647 bytes, more than 16777216, the most"),
        ((16000, 16_000), "has a page that goes "),
        ((16000, 2**40), "has a page of 1099511627776 bytes"),
        ((16000, 100, 2**62), "has a page of 4611686018427387904 values, 2000 are left"),
    ],
)
def test_a_page_header_that_lies(sizes, reason, path):
    with_page_of(path, *sizes)
    assert f"column size of row group 0 {reason}" in refusal(path)


def test_a_page_header_that_is_none(path):
    write_trace(path, churn(2000))
    start = pq.ParquetFile(path).metadata.row_group(0).column(3).data_page_offset
    for filler in (b"\xff", b"\x88", b"\x1c", b"\x19"):
        content = bytearray(path.read_bytes())
        content[start : start + 200] = filler * 200
        path.write_bytes(content)
        assert "column size of row group 0 has a page without a sound header" in refusal(path)


@pytest.mark.slow
def test_a_page_header_that_lies_takes_no_memory(path):
    with_page_of(path, 16000, 2**31 - 1)
    code = "from allocsim.cli import main; main()"
    command = [sys.executable, "-c", code, "trace", "info", path]
    child = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    assert usage.ru_maxrss < 2**20, "more than 1 GB"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(path, share):
    write_trace(path, churn())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "not a sound trace file" in refusal(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format_version": 2}, "trace format 2 is newer than 1, .*update allocsim"),
        ({"format_version": "1"}, "no valid format_version: '1'"),
        ({"n_ops": 999}, "says 999 ops, but it has 1000 rows"),
        ({"n_ops": -1}, "no valid n_ops: -1"),
        ({"n_ops": True}, "no valid n_ops: True"),
        ({"n_slots": 2**40}, "n_slots is 1099511627776, more than"),
        ({"n_threads": 2**30}, "n_threads is 1073741824, more than"),
        ({"n_slots": 99}, "row 99: object 99; the trace has slots 0 to 98"),
        ({"n_threads": 0}, "row 0: thread 0; the trace has threads 0 to -1"),
        ({"content_hash": None}, "no content_hash"),
        ({"provenance": None}, "provenance is not a table"),
        ({"provenance": {"program": 3}}, "'program' is not a str"),
        ({"provenance": {"arguments": [3]}}, "'arguments' holds something other"),
        ({"provenance": {"colour": "red"}}, "unknown key 'colour'"),
        ({"provenance": {"written_source": "dreamt"}}, "written_source 'dreamt'; allowed"),
    ],
)
def test_descriptions_that_cannot_be_right(path, change, reason):
    rewrite(path, table(path), description(path) | change)
    with pytest.raises(InputError, match=reason):
        raise InputError(refusal(path))


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b"[" * 100_000, b"\xff", b'{"format_version": 1e400}']
)
def test_descriptions_that_are_not_json_objects(path, text):
    rewrite(path, table(path), text)
    assert "its description" in refusal(path)


@pytest.mark.parametrize(
    "column",
    [
        ("size", pa.array(np.linspace(0, 1, 1000))),
        ("size", pa.array([float("nan")] * 1000)),
        ("size", pa.array([None] * 1000, pa.int64())),
        ("size", pa.array(["1"] * 1000)),
        ("object", pa.array(np.zeros(1000, np.int64))),
        ("op", pa.array(np.zeros(1000, np.int8))),
    ],
)
def test_columns_of_other_types(path, column):
    content = table(path, **dict([column]))
    rewrite(path, content, description(path))
    assert "its columns are not those of format 1" in refusal(path)


def test_missing_and_additional_columns(path):
    content = table(path)
    for other in (content.drop_columns(["arg"]), content.append_column("x", content["arg"])):
        rewrite(path, other, description(path))
        assert "its columns are not those of format 1" in refusal(path)


def test_altered_ops_do_not_pass_for_the_original(path):
    size = pq.read_table(_written(path))["size"].to_numpy().copy()
    size[0] += 1
    rewrite(path, table(path, size=pa.array(size)), description(path))
    with pytest.raises(InputError, match="it was altered"):
        open_trace(path).verify()


def _written(path):
    write_trace(path, churn(1000))
    return path


@pytest.fixture(scope="module")
def sound_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "t.parquet"
    write_trace(path, churn(2000), PROVENANCE)
    return path.read_bytes()


@FOLDER_FOR_ALL_EXAMPLES
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_random_corruption_is_refused_or_harmless(changes, sound_bytes, path):
    content = bytearray(sound_bytes)
    for place, value in changes:
        content[int(place * len(content))] = value
    path.write_bytes(content)
    try:
        for _ in validated(open_trace(path)):
            pass
    except InputError as error:
        assert str(error).startswith(f"{path}: ")
