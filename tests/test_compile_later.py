"""A policy that is interpreted again and again is compiled in the background."""

import pytest

from allocsim import compile_later
from allocsim.compile_ahead import Code
from allocsim.machine import Machine


@pytest.fixture
def started(tmp_path, monkeypatch):
    """The codes for which a process was started."""
    codes = []
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compile_later, "_start", codes.append)
    return codes


def test_it_starts_once_when_enough_ops_were_interpreted(started):
    code, other = (Code.of(name, Machine(), False) for name in ("best_fit", "first_fit"))
    assert not compile_later.note_use(code, 600_000)
    assert not compile_later.note_use(other, 600_000)
    assert compile_later.note_use(code, 600_000)
    assert not compile_later.note_use(code, 600_000)
    assert started == [code]


def test_policies_and_machines_are_counted_by_their_code(started):
    assert not compile_later.note_use(Code.of("mmap_only", Machine(cpus=2), False), 600_000)
    assert not compile_later.note_use(Code.of("glibc", Machine(), True), 600_000)
    assert compile_later.note_use(Code.of("glibc", Machine(), False), 600_000)


def test_a_cache_that_cannot_be_used_is_no_error(started, tmp_path):
    (tmp_path / "cache").write_text("")
    assert not compile_later.note_use(Code.of("best_fit", Machine(), False), 10**7)


def test_notes_that_are_no_numbers_count_nothing(started, tmp_path):
    code = Code.of("best_fit", Machine(), False)
    compile_later.note_use(code, 1)
    [notes] = (tmp_path / "cache" / compile_later.FOLDER).iterdir()
    notes.write_bytes(b"\xff\xfe many\n" * 10_000)
    assert not compile_later.note_use(code, 5)
    assert started == []
