"""CSV, both ways."""

import io
import sys
from types import SimpleNamespace

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
    assert open_trace(parquet).content_hash() == trace.content_hash()


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
        (SHORT.encode() + b"malloc,0,0,1\nfree,0,\xff,0\n", ":3: column object is not text in"),
        (b"\x00\xff\xfe" * 1000, ":1: "),
        (b"PAR1" + bytes(1000), ":1: "),
        (SHORT + "malloc,0,0," + "1" * 4_000_000 + "\n", ":1: from here on not CSV text"),
        (MANY + "free,0,0,x\n", ":400002: column size: 'x' is not a whole number"),
        (MANY + "free,0,0,0\n", ":400002: free of slot 0, which is empty"),
        (MANY + "free,0,0\n", ":400002: 3 cells where the header has 4"),
    ],
    ids=range(22),
)
def test_bad_text_is_refused_with_its_line(content, reason, parquet, text):
    with pytest.raises(InputError) as caught:
        imported(text, parquet, content)
    message = str(caught.value)
    assert message.startswith(str(text)) and reason in message
    assert not parquet.exists()


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
