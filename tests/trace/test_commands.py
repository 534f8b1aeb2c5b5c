"""The trace commands, as users run them."""

import errno
import os
from pathlib import Path

import pytest

from allocsim.trace import Provenance, Trace, open_trace, write_trace


@pytest.fixture
def allocsim(allocsim_here):
    """Runs a trace command in this process; gives its exit code and what it prints."""
    return lambda *arguments: allocsim_here("trace", *arguments)


@pytest.fixture
def path(tmp_path):
    trace = Trace.of(
        op=[0, 8, 0, 4, 9],
        object=[0, 1, 2, 0, 1],
        size=[100, 4096, 50, 0, 4096],
        time_ns=[0, 10, 20, 30, 2_000_000_000],
    )
    provenance = Provenance(
        program="/bin/ls",
        arguments=("-l", "a b", "\x1b[2J\udce9"),
        c_library="glibc 2.36",
        extras={"peak_rss_bytes": 12345},
    )
    write_trace(tmp_path / "t.parquet", trace, provenance)
    return tmp_path / "t.parquet"


def test_info_shows_provenance_and_figures(allocsim, path):
    code, out, _ = allocsim("info", path, "--check")
    assert code == 0
    shown = dict(line.strip().split("  ", 1) for line in out.splitlines())
    shown = {name: value.strip() for name, value in shown.items()}
    assert shown["program"] == "/bin/ls -l 'a b' '\\x1b[2J\\udce9'"
    assert shown["C library"] == "glibc 2.36"
    assert shown["peak_rss_bytes"] == "12345"
    assert shown["content hash"].endswith("(verified)")
    assert (shown["ops"], shown["malloc"], shown["free"], shown["mmap"]) == ("5", "2", "1", "1")
    assert (shown["threads"], shown["slots"]) == ("1", "3")
    assert (shown["peak live bytes"], shown["live bytes at end"]) == ("150", "50")
    assert shown["peak mapped bytes"].startswith("4,096")
    assert shown["duration"] == "2.000000 s"
    assert (shown["size minimum"], shown["size median"], shown["size 99%"]) == ("50", "50", "100")


def test_head_takes_any_number_of_ops(allocsim, path):
    assert allocsim("head", path, "-n", 2**64) == allocsim("head", path, "-n", 100_000)


def test_head_shows_the_first_ops(allocsim, path):
    lines = allocsim("head", path, "-n", "2")[1].splitlines()
    assert [line.split()[:5] for line in lines] == [
        ["row", "op", "thread", "object", "size"],
        ["0", "malloc", "0", "0", "100"],
        ["1", "mmap", "0", "1", "4096"],
    ]


def test_export_and_import(allocsim, path, tmp_path):
    again = tmp_path / "again.parquet"
    assert allocsim("export", path, "-o", tmp_path / "t.csv") == (0, "", "")
    assert allocsim("import", tmp_path / "t.csv", "-o", again, "--program", "ls")[0] == 0
    assert open_trace(again).content_hash() == open_trace(path).content_hash()
    assert open_trace(again).provenance.program == "ls"


def test_bad_input_exits_with_2_and_one_line(allocsim, path, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("op,thread,object,size\nfree,0,0,0\n")
    truncated = tmp_path / "truncated.parquet"
    truncated.write_bytes(path.read_bytes()[:-100])
    for arguments, start in (
        (("import", bad, "-o", tmp_path / "x.parquet"), f"error: {bad}:2: free of slot 0"),
        (("info", truncated), f"error: {truncated}: not a sound trace file"),
        (("head", tmp_path / "none"), f"error: {tmp_path / 'none'}: cannot be read"),
        (("export", bad, "-o", "-"), f"error: {bad}: not a sound trace file"),
    ):
        code, _, message = allocsim(*arguments)
        assert code == 2
        assert message.startswith(start) and message.count("\n") == 1


@pytest.mark.parametrize("arguments", [("export", "t.parquet"), ("import", "t.csv")])
def test_a_read_only_folder_is_told_in_one_line(allocsim, path, tmp_path, monkeypatch, arguments):
    command, source = arguments
    allocsim("export", path, "-o", tmp_path / "t.csv")

    def refuse(self, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    def opened(self, mode="r"):
        return refuse(self) if "w" in mode else readable(self, mode)

    readable = Path.open
    monkeypatch.setattr("allocsim.trace.writer._open_parquet", refuse)
    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(Path, "unlink", refuse)
    code, _, message = allocsim(command, tmp_path / source, "-o", tmp_path / "new")
    assert code == 2
    assert message == f"error: {tmp_path / 'new'}: cannot write: Read-only file system\n"
