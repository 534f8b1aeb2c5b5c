"""What the notes of runs say of programs that were not recorded."""

from pathlib import Path

from allocsim.trace.recorder_unseen import unseen_programs


def test_attempts_that_all_failed_are_no_runs(tmp_path: Path) -> None:
    notes = b"12 5 /bin/no\x0012 6 \x0013 7 \x0014 8 no-such-program\x00"
    (tmp_path / "programs").write_bytes(notes)
    assert [run.program for run in unseen_programs(tmp_path, [], [])] == ["no-such-program"]
