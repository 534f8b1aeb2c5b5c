"""What docs/traces.md shows is true."""

import re
from pathlib import Path

import pytest

from allocsim.errors import InputError
from allocsim.trace import COLUMNS, Op, open_trace
from allocsim.trace.text import HEADER, import_csv

PAGE = (Path(__file__).parents[2] / "docs" / "traces.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, flags=re.DOTALL)


def test_every_column_is_there_with_its_type():
    told = re.findall(r"^\| `(\w+)` \| (u?int\d+) \|", PAGE, flags=re.MULTILINE)
    assert told == [(name, str(dtype)) for name, dtype in COLUMNS.items()]
    assert f"`{HEADER}`" in PAGE


def test_every_op_is_there_with_its_number():
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| ([\d, ]+) \|", PAGE, flags=re.MULTILINE)
    told = {
        label: int(number)
        for labels, numbers in rows
        for label, number in zip(re.findall(r"\w+", labels), numbers.split(","), strict=True)
    }
    assert told == {op.label: op.value for op in Op}


def test_the_csv_example_can_be_imported(tmp_path):
    (example,) = [text for _, text in BLOCKS if text.startswith("op,")]
    (tmp_path / "ops.csv").write_text(example)
    import_csv(str(tmp_path / "ops.csv"), tmp_path / "ops.parquet")
    assert open_trace(tmp_path / "ops.parquet").n_ops == 4


def test_the_error_is_what_is_printed(tmp_path, monkeypatch):
    (shown,) = [text.strip() for _, text in BLOCKS if text.startswith("error: ")]
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text("op,thread,object,size\nfree,0,0,0\n")
    with pytest.raises(InputError) as caught:
        import_csv("bad.csv", Path("bad.parquet"))
    assert f"error: {caught.value}" == shown


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = [text for language, text in BLOCKS if language == "python"]
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert capsys.readouterr().out == "[0 4] [100   0] [100   0]\n"
