"""What the notes of runs say of programs that were not recorded."""

from pathlib import Path

from allocsim.trace.recorder_unseen import unseen_programs


def test_attempts_that_all_failed_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "12.programs").write_bytes(b"5 /bin/no\x006 \x00")
    (tmp_path / "13.programs").write_bytes(b"7 \x00")
    (tmp_path / "14.programs").write_bytes(b"8 no-such-program\x00")
    assert [run.program for run in unseen_programs(tmp_path, [], [])] == ["no-such-program"]
