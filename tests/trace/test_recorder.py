"""The recorder, on small C programs that do one awkward thing each (tests/trace/programs)."""

import errno
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from allocsim.errors import InputError
from allocsim.trace import Op, Trace, open_trace
from allocsim.trace.recorder import Recording, record

Build = Callable[..., Path]
Command = Callable[..., tuple[int, str, str]]


def run(output: Path, *command: object) -> tuple[Recording, Trace]:
    """Record a program; its trace."""
    recording = record([str(part) for part in command], output)
    return recording, open_trace(output).read()


def of_size(trace: Trace, *sizes: int) -> int:
    """How many allocations ask for one of `sizes`."""
    return int((np.isin(trace.size, sizes) & (trace.op <= Op.ALIGNED_ALLOC)).sum())


def lived(trace: Trace, size: int) -> list[Op]:
    """All ops on the slot of the first block of `size`, from its allocation to its free."""
    start = int(np.flatnonzero(trace.size == size)[0])
    rows = np.flatnonzero(trace.object == trace.object[start])
    ops = [Op(op) for op in trace.op[rows[rows >= start]]]
    return ops[: ops.index(Op.FREE) + 1] if Op.FREE in ops else ops


def test_every_call_becomes_its_op(built: Build, output: Path) -> None:
    _, trace = run(output, built("every_call"))
    rows = [
        (Op(op).label, size, alignment)
        for op, size, alignment in zip(trace.op, trace.size, trace.alignment, strict=True)
        if op not in (Op.FREE, Op.TOUCH)
    ]
    start = rows.index(("malloc", 101, 0))
    assert rows[start:] == [
        ("malloc", 101, 0),
        ("calloc", 201, 0),
        ("realloc", 303, 0),
        ("realloc", 404, 0),
        ("aligned_alloc", 505, 64),
        ("aligned_alloc", 640, 128),
        ("aligned_alloc", 707, 256),
        ("aligned_alloc", 808, 4096),
        ("aligned_alloc", 4096, 4096),
        ("realloc", 111, 0),
        ("realloc", 0, 0),
        ("mmap", 2**20, 0),
        ("madvise", 2**15, 0),
        ("munmap", 2**19, 0),
        ("mremap", 2**21, 0),
        ("munmap", 2**21, 0),
    ]
    assert int((trace.op[-20:] == Op.FREE).sum()) == 7


def test_touches_of_a_mapping_follow_the_call_that_made_room(built: Build, output: Path) -> None:
    _, trace = run(output, built("every_call"))
    rows = slice(int(np.flatnonzero(trace.op == Op.MMAP)[0]), None)
    ops = [Op(op).label for op in trace.op[rows]]
    assert ops == ["mmap", "touch", "touch", "madvise", "munmap", "mremap", "munmap"]
    touched = trace.op == Op.TOUCH
    assert trace.offset[touched].tolist() == [0, 2**15]
    assert trace.size[touched].tolist() == [2**15, 2**15]


def test_written_is_estimated_for_big_blocks(built: Build, output: Path) -> None:
    _, trace = run(output, built("big_blocks"))
    written = {
        (Op(op).label, int(size)): []
        for op, size in zip(trace.op, trace.size, strict=True)
        if size >= 2**20
    }
    for op, size, n in zip(trace.op, trace.size, trace.written, strict=True):
        if size >= 2**20:
            written[Op(op).label, int(size)].append(int(n))
    page = 4096
    expected = {
        ("malloc", 2**20): [300_000, 100_000, 700_000],
        ("calloc", 2**20): [0],
        ("realloc", 2**21): [500_000],
    }
    assert written.keys() == expected.keys()
    for key, values in expected.items():
        for found, real in zip(written[key], values, strict=True):
            assert real <= found <= real + 2 * page, key
    assert open_trace(output).provenance.written_source == "estimated"


@pytest.mark.parametrize("n_blocks", [5, 2048, 30_000])
def test_nothing_is_lost_when_the_program_is_killed(
    built: Build, output: Path, n_blocks: int
) -> None:
    recording, trace = run(output, built("killed"), n_blocks)
    assert recording.exit_code == 128 + 9
    assert of_size(trace, 24) == n_blocks


def test_blocks_freed_by_other_threads_keep_their_identity(built: Build, output: Path) -> None:
    recording, trace = run(output, built("threads"))
    extras = open_trace(output).provenance.extras
    assert recording.traces[0].n_threads == 5
    assert extras["unseen_allocations"] == extras["unseen_frees"] == 0
    assert of_size(trace, *range(16, 216)) >= 80_000
    assert trace.n_slots < 600  # 256 places, and what libc needs for threads


def test_threads_are_numbered_one_by_one(built: Build, output: Path) -> None:
    _, trace = run(output, built("many_threads"))
    mine = trace.thread[trace.size == 333]
    assert mine.tolist() == list(range(1, 101))


def test_forked_children_have_traces_of_their_own(built: Build, output: Path) -> None:
    recording, trace = run(output, built("forks"))
    assert (of_size(trace, 1111), of_size(trace, 2222, 3333), of_size(trace, 4444)) == (1, 0, 5000)
    assert lived(trace, 1111) == [Op.MALLOC, Op.FREE]
    children = [open_trace(recorded.path).read() for recorded in recording.traces[1:]]
    counts = sorted((of_size(c, 2222), of_size(c, 3333), of_size(c, 4444)) for c in children)
    assert counts == [(0, 5000, 0), (5000, 0, 0)]
    for recorded in recording.traces[1:]:
        assert open_trace(recorded.path).provenance.extras["unseen_allocations"] == 1


def test_programs_that_are_run_have_traces_of_their_own(built: Build, output: Path) -> None:
    churn = built("churn")
    recording, trace = run(output, built("runs_others"), churn)
    assert recording.exit_code == 3
    assert (of_size(trace, 40), of_size(trace, 5555)) == (1, 0)  # what the process became
    names = [recorded.path.name for recorded in recording.traces]
    assert names[0] == "t.parquet"
    assert names[1] == "t.1-runs_others.parquet"
    assert sorted(name.split("-")[1] for name in names[2:]) == ["churn.parquet"] * 2
    before = open_trace(recording.traces[1].path).read()
    assert (of_size(before, 5555), of_size(before, 6666), of_size(before, 40)) == (1, 1, 0)


@pytest.mark.slow
def test_signal_handlers_may_allocate(built: Build, output: Path) -> None:
    recording, trace = run(output, built("signals"))
    extras = open_trace(output).provenance.extras
    assert recording.exit_code == 0
    assert of_size(trace, 777) > 100
    assert extras["unseen_allocations"] == extras["unseen_frees"] == 0


def test_libraries_loaded_later_are_seen(built: Build, output: Path) -> None:
    library = built("library", "-shared", "-fPIC")
    recording, trace = run(output, built("loads"), library)
    assert recording.exit_code == 0
    assert lived(trace, 1234) == [Op.MALLOC, Op.FREE]


def test_another_allocator_s_own_calls_are_not_the_program_s(built: Build, output: Path) -> None:
    allocator = built("own_allocator", "-shared", "-fPIC")
    recording, trace = run(output, built("churn", str(allocator)), 100)
    assert recording.exit_code == 3
    assert of_size(trace, 40) == 100
    assert not np.isin(trace.op, [Op.MMAP, Op.MUNMAP]).any()
    assert "allocator is not the C library's" in open_trace(output).provenance.notes


def test_think_time_is_the_program_s(built: Build, output: Path) -> None:
    _, trace = run(output, built("sleeps"))
    first = int(np.flatnonzero(trace.size == 2468)[0])
    assert 30e6 < trace.think_ns[first + 1] < 10 * 30e6
    assert trace.time_ns[first + 1] - trace.time_ns[first] >= trace.think_ns[first + 1]


def test_output_and_exit_code_are_the_program_s(
    built: Build, output: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recording, trace = run(output, built("churn"), 10)
    assert (recording.exit_code, capfd.readouterr().out) == (3, "done\n")
    assert of_size(trace, 40) == 10
    provenance = open_trace(output).provenance
    assert Path(provenance.program) == built("churn")
    assert provenance.arguments == ("10",)
    assert provenance.extras["peak_rss_bytes"] > 500_000
    assert 50 < provenance.extras["minor_faults"] < 5000


def test_a_full_disk_stops_the_recording_and_not_the_program(built: Build, output: Path) -> None:
    limited = f"ulimit -f 512; exec {shlex.quote(str(built('churn')))} 100000"
    recording, trace = run(output, "bash", "-c", limited)
    assert recording.exit_code == 3
    assert not recording.is_complete
    assert "INCOMPLETE: a log reached the program's limit" in recording.summary()
    assert 1000 < of_size(trace, 40) < 10_000


@pytest.fixture
def full_disk() -> Iterator[pytest.MonkeyPatch]:
    """No trace can be written until it is undone."""

    def refuse(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("allocsim.trace.writer._open_parquet", refuse)
        yield patch


def test_a_recording_that_finds_no_room_for_its_trace_is_finished_later(
    built: Build, output: Path, full_disk: pytest.MonkeyPatch, allocsim_here: Command
) -> None:
    program = [built("runs_others"), built("churn")]
    code, _, told = allocsim_here("record", "-o", output, "--", *program)
    (kept,) = output.parent.iterdir()
    assert kept.name.endswith(".ended")
    finish = ["trace", "convert", str(kept), "-o", str(output)]
    message = (
        f"error: {output}: cannot write: No space left on device; the recording is kept; "
        f"once that is mended, or with another -o: {shlex.join(['allocsim', *finish])}\n"
    )
    assert (code, told) == (2, message)
    assert allocsim_here(*finish) == (2, "", message)  # still full: nothing is lost
    full_disk.undo()
    code, _, told = allocsim_here(*finish)
    assert code == 0 and told.startswith(f"{output}: churn, ")
    names = sorted(path.name for path in output.parent.iterdir())
    assert len(names) == 4 and "t.parquet" in names and "t.1-runs_others.parquet" in names
    assert of_size(open_trace(output).read(), 40) == 1
    assert open_trace(output).provenance.extras["peak_rss_bytes"] > 500_000


def test_a_recording_interrupted_after_the_program_is_finished_later(
    built: Build, output: Path, monkeypatch: pytest.MonkeyPatch, allocsim_here: Command
) -> None:
    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("allocsim.trace.writer._open_parquet", interrupt)
        code, _, told = allocsim_here("record", "-o", output, "--", built("churn"), 7)
    assert code == 130
    assert told.startswith("interrupted; the recording is kept; ") and told.count("\n") == 1
    assert allocsim_here(*shlex.split(told.partition("allocsim ")[2]))[0] == 0
    assert of_size(open_trace(output).read(), 40) == 7


def test_only_a_folder_that_was_kept_is_converted(
    output: Path, tmp_path: Path, allocsim_here: Command
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "ending.json").write_text('{"text": "mine"}')
    convert = ("trace", "convert", mine, "-o", output)
    refused = (
        f"error: {mine}: not a folder that `allocsim record` kept; it says which one it keeps\n"
    )
    assert allocsim_here(*convert) == (2, "", refused)
    (mine / "ending.json").write_text(" " * 100)
    code, _, told = allocsim_here(*convert)
    assert code == 2 and "the recording has no start: allocsim was killed" in told
    assert mine.is_dir()


def test_nothing_stays_behind(built: Build, output: Path) -> None:
    run(output, built("churn"))
    assert [path.name for path in output.parent.iterdir()] == ["t.parquet"]


def test_the_command_exits_with_the_program_s_code(
    built: Build, output: Path, allocsim_here: Command
) -> None:
    code, out, told = allocsim_here("record", "-o", output, "--", built("churn"), 5)
    assert (code, out) == (3, "done\n")
    assert told.startswith(f"{output}: churn, ")
    assert "1 thread, " in told


def test_a_missing_program_is_named(output: Path) -> None:
    with pytest.raises(InputError, match="no-such-program: there is no such program on the PATH"):
        record(["no-such-program"], output)


def test_a_file_that_is_no_program_is_refused(output: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("text")
    with pytest.raises(InputError, match="is not executable"):
        record([str(plain)], output)
    plain.chmod(0o755)
    with pytest.raises(InputError, match="cannot be run: Exec format error"):
        record([str(plain)], output)


def test_a_static_program_is_refused(built: Build, output: Path) -> None:
    with pytest.raises(InputError, match="statically linked"):
        record([str(built("churn", "-static"))], output)


def test_a_folder_that_is_missing_is_refused_before_the_program_runs(
    built: Build, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        record([str(built("churn"))], tmp_path / "none" / "t.parquet")
    assert capfd.readouterr().out == ""


def test_without_a_compiler_the_message_says_so(
    built: Build, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = built("churn")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="needs a C compiler"):
        record([str(program)], output)


def test_the_summary_of_many_processes_stays_short(output: Path) -> None:
    recording, _ = run(output, "bash", "-c", "for i in $(seq 20); do (x=$i); done")
    lines = recording.summary().splitlines()
    assert len(recording.traces) > 15
    assert lines[0].startswith(f"{output}: bash, ")
    assert len(lines) <= 13
    assert "more traces of other processes" in lines[11]
