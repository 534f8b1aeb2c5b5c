"""The recorder on real programs: it must not change what they do, and see what they do."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from allocsim.trace import Op, open_trace
from allocsim.trace.recorder import record

pytestmark = pytest.mark.slow

SQL = (
    "create table t(a, b); with recursive n(i) as (select 1 union all select i + 1 from n "
    "where i < 2000) insert into t select i, hex(i) from n; select count(*), max(b) from t;"
)
PERL = 'my %h; $h{"k$_"} = "x" x ($_ % 50) for 1 .. 3000; delete $h{"k$_"} for 1 .. 2000; print 1'
PYTHON = "import json; print(len(json.dumps([{'a': i} for i in range(5000)])))"
C_SOURCE = "int f(int *p, int n) { int s = 0; for (int i = 0; i < n; i++) s += p[i]; return s; }\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "f.c").write_text(C_SOURCE)
    git = ["git", "-C", str(tmp_path)]
    person = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    if shutil.which("git"):
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "add", "f.c"], check=True)
        subprocess.run([*git, *person, "commit", "-qm", "first"], check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "environment", "least_ops"),
    [
        (["sqlite3", ":memory:", SQL], {}, 1000),
        (["git", "log", "-p"], {}, 200),
        (["/usr/bin/python3", "-c", PYTHON], {}, 1000),
        (["/usr/bin/python3", "-c", PYTHON], {"PYTHONMALLOC": "malloc"}, 50_000),
        (["perl", "-e", PERL], {}, 5000),
        (["sh", "-c", "echo a b | tr a-z A-Z | sort"], {}, 5),
        (["gcc", "-O2", "-c", "-o", "f.o", "f.c"], {}, 100),
        (["bash", "-c", "for i in 1 2 3; do (echo $i; exit $i); done; exit 4"], {}, 500),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_program_does_what_it_did(
    folder: Path,
    command: list[str],
    environment: dict[str, str],
    least_ops: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    monkeypatch.chdir(folder)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    recording = record(command, folder / "t.parquet")
    assert recording.exit_code == plain.returncode
    assert capfd.readouterr() == (plain.stdout, plain.stderr)
    trace = open_trace(folder / "t.parquet")
    trace.verify()
    assert trace.n_ops > least_ops
    figures = trace.provenance.extras
    assert figures["unseen_frees"] == 0
    assert 0 < figures["explained_peak_bytes"] <= figures["peak_rss_bytes"]


def test_the_compiler_proper_is_recorded_as_a_child(folder: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    output = folder / "t.parquet"
    recording = record(["gcc", "-O2", "-c", "-o", str(folder / "f.o"), str(folder / "f.c")], output)
    names = [recorded.program for recorded in recording.traces]
    assert "cc1" in names and "gcc" in names[0]
    compiler = open_trace(recording.traces[names.index("cc1")].path).read()
    mapped = compiler.size[compiler.op == Op.MMAP].sum()
    touched = compiler.size[compiler.op == Op.TOUCH].sum()
    assert 0 < touched <= np.int64(mapped)  # its collector maps memory itself
