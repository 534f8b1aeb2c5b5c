"""Outputs that cannot be written: every command tells so alike, and before it does its work."""

import os
from pathlib import Path

import pytest

from allocsim.errors import OutputError
from allocsim.outputs import AtomicFile, check_folder
from allocsim.trace.text import import_csv

TRACE = "op,thread,object,size\nmalloc,0,0,160\nfree,0,0,0\n"
WRITING_A_FILE = {
    "record": ("record", "-o", "OUTPUT", "--", "echo", "it ran"),
    "trace import": ("trace", "import", "ops.csv", "-o", "OUTPUT"),
    "trace export": ("trace", "export", "ops.parquet", "-o", "OUTPUT"),
    "simulate --ops": ("simulate", "ops.parquet", "--interpreted", "--ops", "OUTPUT"),
    "simulate --syscalls": ("simulate", "ops.parquet", "--interpreted", "--syscalls", "OUTPUT"),
    "calibrate": ("calibrate", "-o", "OUTPUT", "--quick"),
    "claims": ("claims", "a", "--json-file", "OUTPUT"),
}
WRITING_A_FOLDER = {
    "run": ("run", "threshold", "-o", "OUTPUT"),
    "measure": ("measure", "ops.parquet", "--rounds", "1", "-o", "OUTPUT"),
    "validate": ("validate", "ops.parquet", "--rounds", "1", "-o", "OUTPUT"),
}


@pytest.fixture
def told(tmp_path, monkeypatch, allocsim_here):
    """Runs a command that must be refused, in a folder with a trace; gives the message."""
    (tmp_path / "ops.csv").write_text(TRACE)
    monkeypatch.chdir(tmp_path)

    def run(arguments, output):
        code, out, errors = allocsim_here(*(output if a == "OUTPUT" else a for a in arguments))
        assert (code, out) == (2, ""), errors
        assert errors.startswith("error: ") and errors.count("\n") == 1, errors
        return errors.removeprefix("error: ").rstrip()

    import_csv("ops.csv", Path("ops.parquet"))
    return run


@pytest.fixture
def names(tmp_path):
    """The files that there are, to see that none was added."""
    return lambda: {path.name for path in tmp_path.iterdir()} - {"ops.csv", "ops.parquet"}


@pytest.mark.parametrize("command", WRITING_A_FILE)
def test_a_file_in_a_folder_that_is_missing(told, names, command):
    message = told(WRITING_A_FILE[command], "none/out")
    assert message == "none/out: there is no folder none; create it first"
    assert names() == set()


@pytest.mark.parametrize("command", WRITING_A_FILE)
def test_a_folder_where_a_file_should_be(told, names, tmp_path, command):
    (tmp_path / "out").mkdir()
    message = told(WRITING_A_FILE[command], "out")
    assert message == "out: not an ordinary file; name a file to write to"
    assert names() == {"out"}


@pytest.mark.parametrize("command", WRITING_A_FOLDER)
def test_a_file_where_a_folder_should_be(told, names, command):
    message = told(WRITING_A_FOLDER[command], "ops.csv/out")
    assert message == "ops.csv/out: cannot write: ops.csv is no folder"
    assert names() == set()


@pytest.mark.parametrize("command", [*WRITING_A_FILE, *WRITING_A_FOLDER])
def test_a_folder_that_takes_no_files(told, names, tmp_path, monkeypatch, command):
    (tmp_path / "locked").mkdir()
    may = os.access  # whoever runs the tests may write everywhere, perhaps
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path).name != "locked" and may(path, mode)
    )
    message = told((WRITING_A_FILE | WRITING_A_FOLDER)[command], "locked/out")
    assert message.endswith(": cannot write: the folder locked takes no new files")
    assert names() == {"locked"} and not list((tmp_path / "locked").iterdir())


def test_names_that_no_file_can_have(told, tmp_path):
    long = "x" * 300
    for arguments in (WRITING_A_FILE["trace import"], WRITING_A_FOLDER["run"]):
        assert told(arguments, long) == f"{long}: cannot write: File name too long"


def test_a_folder_still_to_be_made_is_none_yet(tmp_path):
    check_folder(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_the_older_file_stays_when_the_disk_is_full(tmp_path, monkeypatch):
    file = AtomicFile(tmp_path / "out")
    file.write_text("older")
    monkeypatch.setattr(file, "temporary", Path("/dev/full"))
    monkeypatch.setattr(file, "discard", lambda: None)
    with pytest.raises(OutputError, match="out: cannot write: No space left on device"):
        file.write_text("newer")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out", "older")]
