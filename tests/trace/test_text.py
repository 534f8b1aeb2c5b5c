"""CSV, both ways."""

import gzip
import io
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from trace_strategies import traces

from allocsim.errors import AllocsimError, InputError
from allocsim.trace import Trace, open_trace, write_trace
from allocsim.trace.text import HEADER, export_csv, import_csv


@pytest.fixture
def parquet(tmp_path):
    return tmp_path / "t.parquet"


@pytest.fixture
def text(tmp_path):
    return tmp_path / "t.csv"


def imported(text, parquet, content: str | bytes) -> Trace:
    text.write_bytes(content if isinstance(content, bytes) else content.encode())
    import_csv(str(text), parquet)
    return open_trace(parquet).read()


@pytest.mark.slow
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
@given(traces())
def test_a_trace_survives_csv(parquet, text, trace):
    write_trace(parquet, trace)
    export_csv(str(parquet), str(text))
    import_csv(str(text), parquet)
    assert open_trace(parquet).content_hash() == without_gaps(trace).content_hash()


def without_gaps(trace: Trace) -> Trace:
    """The trace with threads numbered by their first ops, if its own numbers leave gaps."""
    met = list(dict.fromkeys(trace.thread.tolist()))
    if sorted(met) == list(range(len(met))):
        return trace
    return replace(trace, thread=np.array([met.index(thread) for thread in trace.thread]))


def test_the_text_is_the_header_and_one_line_per_op(parquet, text):
    write_trace(parquet, Trace.of(op=[3, 4], object=0, size=[100, 0], alignment=[64, 0]))
    export_csv(str(parquet), str(text))
    assert text.read_text() == (
        "op,thread,object,size,alignment,written,offset,arg,time_ns,think_ns\n"
        "aligned_alloc,0,0,100,64,100,0,0,0,0\n"
        "free,0,0,0,0,0,0,0,0,0\n"
    )


def test_everything_after_size_is_optional(parquet, text):
    lines = "malloc,0,0,10\ncalloc,0,1,20\nrealloc,0,2,30\ntouch,0,0,5\nmark,0,-1,0\n"
    trace = imported(text, parquet, f"op,thread,object,size\n{lines}")
    assert trace.written.tolist() == [10, 20, 30, 0, 0]
    assert trace.arg.tolist() == [0] * 5


def test_cells_may_be_empty_and_columns_in_any_order(parquet, text):
    content = "size,written,op,object,thread,time_ns\n10,,malloc,0,0,\n 20 ,7,calloc,1,0,300\n"
    trace = imported(text, parquet, content)
    assert (trace.written.tolist(), trace.time_ns.tolist()) == ([10, 7], [0, 300])


@pytest.mark.parametrize("content", ["{}\r\nmalloc,0,0,10\r\n", "\ufeff{}\nmalloc,0,0,10"])
def test_windows_line_ends_marks_and_a_missing_last_one(content, parquet, text):
    assert imported(text, parquet, content.format("op,thread,object,size")).size.tolist() == [10]


def test_provenance_says_where_the_ops_come_from(parquet, text):
    imported(text, parquet, "op,thread,object,size\n")
    assert open_trace(parquet).provenance.notes == f"imported from {text}"
    import_csv(str(text), parquet, program="myserver", notes="a day of it")
    provenance = open_trace(parquet).provenance
    assert (provenance.program, provenance.notes) == ("myserver", "a day of it")
    assert provenance.written_source == "given"


SHORT = "op,thread,object,size\n"
MANY = SHORT + "malloc,0,0,10\nfree,0,0,0\n" * 200_000


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", ":1: from here on not CSV text"),
        ("op,thread,object\n", ":1: column size is missing; right is op,thread"),
        ("op,thread,object,sise\n", ":1: unknown column 'sise'; did you mean 'size'?; right is"),
        ("op,op,thread,object,size\n", ":1: column op is there twice"),
        (SHORT + "maloc,0,0,10\n", ":2: unknown op 'maloc'; did you mean 'malloc'?; ops are"),
        (SHORT + "malloc,0,0,10\n\n", ":3: no op; ops are malloc"),
        (SHORT + "malloc,0,0,ten\n", ":2: column size: 'ten' is not a whole number"),
        (SHORT + "malloc,0,0,1.5\n", ":2: column size: '1.5' is not a whole number"),
        (SHORT + "malloc,0,0,nan\n", ":2: column size: 'nan' is not a whole number"),
        (SHORT + "malloc,0,0,\n", ":2: column size is empty"),
        (SHORT + "malloc,0,0,99999999999999999999\n", ":2: column size: '99999999999999999999'"),
        (SHORT + "malloc,0,99999999999,1\n", ":2: column object: '99999999999' is not"),
        (SHORT + "malloc,0,0,10\nfree,0,0\n", ":3: 3 cells where the header has 4: free,0,0"),
        (SHORT + "malloc,0,0,10\nfree,0,1,0\n", ":3: free of slot 1, which is empty"),
        (SHORT + "malloc,0,0,-10\n", ":2: malloc with negative size -10"),
        (SHORT.encode() + b"malloc,0,0,1\nfree,0,\xff,0\n", ":3: not text in UTF-8: byte 0xff"),
        (
            SHORT.encode() + b"malloc,0,0,1\nfree,0,0,0,\xac\xff\n",
            ":3: not text in UTF-8: byte 0xac",
        ),
        (b"\x7f\xffop,thread,object,size\nmalloc,0,0,1\n", ":1: not text in UTF-8: byte 0xff"),
        ("op,thread,größe\n".encode("latin1"), ":1: not text in UTF-8: byte 0xf6"),
        (MANY.encode() + b"free,0,0,\xc3", ":400002: not text in UTF-8: byte 0xc3"),
        (
            SHORT + "\x1b[31mred\x1b]0;title\x07,0\n",
            r":2: 2 cells where the header has 4: \x1b[31m",
        ),
        (SHORT + '"malloc\n",0,0,1\n', r":2: unknown op 'malloc\n'"),
        (SHORT + "malloc,-1,0,1\n", ":2: thread -1; threads are not negative"),
        (gzip.compress(MANY.encode())[:-9], ": damaged gzip: "),
        (b"\x28\xb5\x2f\xfd" + bytes(100), ":1: damaged zstd: "),
        (b"\x00\xff\xfe" * 1000, ":1: "),
        (b"PAR1" + bytes(1000), ":1: "),
        (SHORT + "malloc,0,0," + "1" * 4_000_000 + "\n", ":1: from here on not CSV text"),
        (MANY + "free,0,0,x\n", ":400002: column size: 'x' is not a whole number"),
        (MANY + "free,0,0,0\n", ":400002: free of slot 0, which is empty"),
        (MANY + "free,0,0\n", ":400002: 3 cells where the header has 4"),
    ],
    ids=range(31),
)
def test_bad_text_is_refused_with_its_line(content, reason, parquet, text):
    with pytest.raises(InputError) as caught:
        imported(text, parquet, content)
    message = str(caught.value)
    assert message.startswith(str(text)) and reason in message
    assert not parquet.exists()
    assert message.isprintable()


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_text_is_read_as_it_is(compression, parquet, text):
    content = pa.compress(MANY.encode(), codec=compression, asbytes=True)
    assert imported(text, parquet, content).n_ops == 400_000
    bad = pa.compress((MANY + "free,0,0,x\n").encode(), codec=compression, asbytes=True)
    with pytest.raises(InputError, match=r":400002: column size: 'x' is not a whole number"):
        imported(text, parquet, bad)


@pytest.mark.parametrize(
    ("ids", "numbers"),
    [
        ([31337, 31338, 31338, 31337], [0, 1, 1, 0]),
        ([140737353971456, 5, 140737353971456], [0, 1, 0]),
        ([1, 0, 2, 0], [1, 0, 2, 0]),
        ([7], [0]),
    ],
)
def test_threads_are_numbered_without_gaps(ids, numbers, parquet, text):
    lines = (f"malloc,{thread},{row},10\n" for row, thread in enumerate(ids))
    assert imported(text, parquet, SHORT + "".join(lines)).thread.tolist() == numbers
    open_trace(parquet).verify()


def test_the_command_says_that_threads_have_new_numbers(text, parquet, allocsim_here):
    text.write_text(SHORT + "malloc,31337,0,100\nmalloc,31338,1,50\n")
    code, _, errors = allocsim_here("trace", "import", text, "-o", parquet)
    said = "2 threads, called 31337 to 31338, are numbered 0 to 1 in the order of their first ops"
    assert (code, errors) == (0, f"{said}\n")
    assert open_trace(parquet).provenance.notes == f"imported from {text}; {said}"


def test_devices_are_not_read(parquet):
    with pytest.raises(InputError, match=r"^/dev/zero: neither a file nor a pipe"):
        import_csv("/dev/zero", parquet)


def test_a_missing_file(parquet):
    with pytest.raises(InputError, match=r"^no\.csv: cannot read: No such file"):
        import_csv("no.csv", parquet)


def test_standard_input_and_output(parquet, monkeypatch):
    stdin = io.BytesIO(b"op,thread,object,size\nmalloc,0,0,10\n")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin))
    import_csv("-", parquet)
    stdout = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=stdout))
    export_csv(str(parquet), "-")
    assert stdout.getvalue().decode() == f"{HEADER}\nmalloc,0,0,10,0,10,0,0,0,0\n"


def test_errors_in_standard_input_name_it(parquet, monkeypatch):
    stdin = io.BytesIO(b"op,thread,object,size\nfree,0,0,0\n")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin))
    with pytest.raises(InputError, match=r"^standard input:2: free of slot 0"):
        import_csv("-", parquet)


def test_export_is_all_or_nothing(parquet, tmp_path):
    write_trace(parquet, Trace.of(op=[0], object=[0], size=[10]))
    with pytest.raises(AllocsimError, match="not an ordinary file"):
        export_csv(str(parquet), "/dev/full")
    content = parquet.read_bytes()
    parquet.write_bytes(content[:-1])
    with pytest.raises(InputError):
        export_csv(str(parquet), str(tmp_path / "t.csv"))
    assert [file.name for file in tmp_path.iterdir()] == [parquet.name]
