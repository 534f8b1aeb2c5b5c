"""Recordings are not lost, and the program is not disturbed, where files, descriptors, rights or
`allocsim record` itself fail it."""

import errno
import os
import resource
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from allocsim.errors import InputError, OutputError
from allocsim.trace import Op, open_trace, recorder_traces
from allocsim.trace.recorder import record
from allocsim.trace.recorder_summary import Recording

MAIN = "from allocsim.cli import main; main()"
"""The command line, for processes of its own."""

Build = Callable[..., Path]
Command = Callable[..., tuple[int, str, str]]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser may do this")


def run(output: Path, *command: object, force: bool = False) -> Recording:
    return record([str(part) for part in command], output, force=force)


def of_size(path: Path, size: int) -> int:
    """How many allocations of the trace ask for `size` bytes."""
    trace = open_trace(path).read()
    return int(((trace.size == size) & (trace.op <= Op.ALIGNED_ALLOC)).sum())


def kept_folder(output: Path) -> Path:
    (folder,) = (path for path in output.parent.iterdir() if path.is_dir())
    return folder


@pytest.fixture
def readable(tmp_path: Path) -> Iterator[Path]:
    """A folder that all users can reach, for what to record into."""
    folder = Path(f"/tmp/allocsim-test-{os.getpid()}")
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


# ---- Disks ---------------------------------------------------------------------------------------


def test_a_file_system_without_fallocate(built: Build, output: Path) -> None:
    recording = run(output, built("no_fallocate"), built("churn"), 9000)
    if recording.exit_code == 77:
        pytest.skip("this kernel takes no seccomp filters")
    assert (recording.exit_code, recording.is_complete) == (3, True)
    assert of_size(output, 40) == 9000


@needs_root
def test_a_full_disk_with_children(built: Build, output: Path) -> None:
    disk, churn = output.parent.parent / "disk", shlex.quote(str(built("churn")))
    disk.mkdir()
    program = f"{churn} 90000; {churn} 1; exit 5"
    on_small_disk = (
        'mount -t tmpfs -o size=1100k tmpfs "$1" || exit 77; '
        '"$2" -c "$3" record -o "$1/t.parquet" -- sh -c "$4"; code=$?; '
        'cp -a "$1/." "$5"; exit $code'
    )
    # The mount ends with the namespace.
    command = ["unshare", "-m", "sh", "-c", on_small_disk, "sh"]
    ended = subprocess.run(
        [*command, disk, sys.executable, MAIN, program, output.parent],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode in (1, 77) and "t.parquet" not in ended.stderr:
        pytest.skip("no file system can be mounted here")
    assert ended.returncode == 5
    assert ended.stderr.count("INCOMPLETE") == 2
    assert "churn): the disk was full" in ended.stderr
    names = sorted(path.name for path in output.parent.iterdir())
    assert names == ["t.1-churn.parquet", "t.parquet"]
    assert 1000 < of_size(output.with_name(names[0]), 40) < 90_000


@pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(4096)], ids=["empty", "cut", "zeros"])
def test_a_process_that_did_not_describe_itself_is_named_and_all_others_are_converted(
    built: Build, output: Path, content: bytes
) -> None:
    half_made = 'head -c $2 "$3" > "$(ls -d "$1"/.t.parquet.*)/99999.0.process"; shift 3; "$@"'
    source = output.parent.parent / "content"
    source.write_bytes(content)
    churn = [built("churn"), 8]
    recording = run(
        output, "sh", "-c", half_made, "sh", output.parent, len(content), source, *churn
    )
    assert recording.exit_code == 3
    assert "INCOMPLETE: process 99999 was killed, or found no room" in recording.summary()
    assert [of_size(t.path, 40) for t in recording.traces if t.program == "churn"] == [8]
    assert not any(path.is_dir() for path in output.parent.iterdir())


def test_damaged_logs_are_named_and_kept_and_all_others_are_converted(
    built: Build, output: Path
) -> None:
    damage = (
        'cd "$1"/.t.parquet.*; log=$(ls $$.0.*.log | head -1); shift; "$@"; '
        # An event by which the log belongs to thread 16,843,009, in the place of the 21st.
        'head -c 32 /dev/zero | tr "\\0" "\\001" |'
        "dd of=$log bs=1 seek=4736 conv=notrunc 2>/dev/null"
    )
    recording = run(output, "sh", "-c", damage, "sh", output.parent, built("churn"), 8)
    assert recording.exit_code == 0
    assert [of_size(t.path, 40) for t in recording.traces if t.program == "churn"] == [8]
    assert recording.own is None and "are damaged" in recording.summary()
    assert recording.kept == kept_folder(output)


# ---- Descriptors ---------------------------------------------------------------------------------


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """This process may have some more files open, but not very many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 40, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_threads_at_once_than_descriptors(
    built: Build, output: Path, few_descriptors: None
) -> None:
    recording = run(output, built("threads_at_once"), 100)
    assert (recording.exit_code, recording.is_complete) == (0, True)
    trace = open_trace(output).read()
    assert sorted(trace.thread[trace.size == 333]) == list(range(1, 101))


def test_a_program_that_uses_up_its_descriptors(
    built: Build, output: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    subprocess.run([built("descriptors")], close_fds=False, check=False)
    plain = capfd.readouterr()
    recording = run(output, built("descriptors"))
    assert (recording.exit_code, recording.is_complete) == (5, True)
    assert capfd.readouterr() == plain
    assert of_size(output, 40) == 30_000


# ---- Users and roots -----------------------------------------------------------------------------


@needs_root
@pytest.mark.parametrize("new_root", [[], ["/var"]], ids=["setuid", "chroot"])
def test_a_program_that_changes_its_user_or_root(
    built: Build, output: Path, new_root: list[str]
) -> None:
    output.parent.parent.chmod(0o700)  # the new user cannot reach it by its path
    recording = run(output, built("changes_user"), 20_000, *new_root)
    assert (recording.exit_code, recording.is_complete) == (4, True)
    assert [of_size(output, size) for size in (111, 222, 333)] == [100, 20_000, 100]
    assert [of_size(trace.path, 444) for trace in recording.traces[1:]] == [100]


@needs_root
def test_programs_of_another_user(
    built: Build, readable: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    churn = readable / "churn"
    shutil.copy(built("churn"), churn)
    setpriv = ["setpriv", "--reuid=65534", "--clear-groups", churn, 5000]
    recording = run(readable / "t.parquet", *setpriv)
    assert (recording.exit_code, capfd.readouterr()) == (3, ("done\n", ""))
    assert (recording.is_complete, of_size(readable / "t.parquet", 40)) == (True, 5000)


@needs_root
def test_programs_of_a_user_who_cannot_reach_the_folder_are_named(
    built: Build, readable: Path, output: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output.parent.chmod(0o700)
    churn = readable / "churn"
    shutil.copy(built("churn"), churn)
    recording = run(output, "setpriv", "--reuid=65534", "--clear-groups", churn)
    assert (recording.exit_code, capfd.readouterr()) == (3, ("done\n", ""))
    assert f"not recorded: {churn} (process " in recording.summary()


# ---- Programs that are run -----------------------------------------------------------------------

FUNCTIONS = "execl execlp execle execv execvp execve execvpe fexecve posix_spawn posix_spawnp vfork"


@pytest.mark.parametrize("function", FUNCTIONS.split())
def test_a_cleared_environment_hides_no_program(built: Build, output: Path, function: str) -> None:
    recording = run(output, built("runs_by"), function, built("churn"))
    assert (recording.exit_code, recording.is_complete) == (3, True)
    traces = [trace for trace in recording.traces if trace.program != "runs_by"]
    assert [of_size(trace.path, 40) for trace in traces] == [7]


def test_an_attempt_to_run_a_program_that_fails_is_no_run(built: Build, output: Path) -> None:
    text = output.parent.parent / "text"
    text.write_text("no program")
    text.chmod(0o755)
    recording = run(output, built("runs_by"), "execv", text)
    assert (recording.exit_code, recording.is_complete) == (0, True)
    assert [trace.program for trace in recording.traces] == ["runs_by"]


@pytest.mark.parametrize("cleared", [["-i"], ["LD_PRELOAD="], ["LD_PRELOAD=/no/such/library.so"]])
def test_env_hides_no_program(built: Build, output: Path, cleared: list[str]) -> None:
    recording = run(output, "env", *cleared, built("churn"), 4)
    assert (recording.exit_code, recording.is_complete) == (3, True)
    assert of_size(output, 40) == 4


def test_a_program_s_own_preloads_stay(built: Build, output: Path) -> None:
    allocator = built("own_allocator", "-shared", "-fPIC")
    run(output, "env", f"LD_PRELOAD={allocator}", built("churn"), 4)
    assert of_size(output, 40) == 4
    assert "allocator is not the C library's" in open_trace(output).provenance.notes


def test_a_program_that_takes_no_recorder_in_is_named(built: Build, output: Path) -> None:
    static = built("churn", "-static")
    recording = run(output, "sh", "-c", f"{shlex.quote(str(static))}; true")
    (unseen,) = recording.unseen
    assert (unseen.program, unseen.reason) == (str(static), "statically linked")
    assert f"not recorded: {static} (process {unseen.pid}: statically" in recording.summary()
    recording = run(output, "env", static, force=True)
    assert recording.exit_code == 3
    assert [unseen.program for unseen in recording.unseen] == [str(static)]


# ---- Threads -------------------------------------------------------------------------------------


@pytest.fixture
def full_disk() -> Iterator[None]:
    def refuse(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("allocsim.trace.writer._open_parquet", refuse)
        yield


def test_what_a_thread_frees_at_its_very_end_takes_no_log(
    built: Build, output: Path, full_disk: None
) -> None:
    with pytest.raises(OutputError):
        run(output, built("ends_late"))
    assert len(list(kept_folder(output).glob("*.log"))) <= 3


def test_threads_keep_their_numbers_to_the_very_end(built: Build, output: Path) -> None:
    run(output, built("ends_late"))
    trace = open_trace(output).read()
    assert trace.thread[trace.size == 333].tolist() == list(range(1, 51))
    assert trace.n_threads == 51
    buffers = np.flatnonzero((trace.thread > 0) & (trace.op == Op.FREE))
    assert len(buffers) >= 2 * 50  # the block and the buffer of each


# ---- `allocsim record` killed; conversions that fail ---------------------------------------------


def test_a_recording_whose_record_was_killed(
    built: Build, output: Path, allocsim_here: Command
) -> None:
    program = f"{shlex.quote(str(built('churn')))} 6; echo ready; read line; exit 2"
    recorder = subprocess.Popen(
        [sys.executable, "-c", MAIN, "record", "-o", output, "--", "bash", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert recorder.stdin and recorder.stdout
    assert recorder.stdout.readline() + recorder.stdout.readline() == b"done\nready\n"
    time.sleep(0.1)
    recorder.send_signal(signal.SIGKILL)
    recorder.wait()
    convert = ("trace", "convert", kept_folder(output), "-o", output)
    code, _, message = allocsim_here(*convert)
    assert code == 2 and "the program still runs (process " in message
    recorder.stdin.close()
    assert recorder.stdout.read() == b""  # it has ended
    deadline = time.monotonic() + 10
    while (code := allocsim_here(*convert)[0]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert code == 0
    (child,) = output.parent.glob("t.*-churn.parquet")
    assert of_size(child, 40) == 6
    assert not any(path.is_dir() for path in output.parent.iterdir())
    assert 1e6 < open_trace(output).read().time_ns[-1] < 10e9  # in nanoseconds
    assert "was killed before the program ended" in open_trace(output).provenance.notes


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EMFILE, "x"), MemoryError(), InputError("t: op 7"), RuntimeError("a mistake")],
    ids=lambda error: type(error).__name__,
)
def test_each_failure_of_a_conversion_names_the_folder_and_the_command(
    built: Build, output: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(folder: Path) -> None:
        raise error

    monkeypatch.setattr("allocsim.trace.recorder_traces.read_processes", fail)
    expected = OutputError if isinstance(error, OSError | MemoryError) else type(error)
    with pytest.raises(expected) as raised:
        run(output, built("churn"), 3)
    command = shlex.join(["allocsim", "trace", "convert", str(kept_folder(output))])
    said = [str(raised.value), *getattr(raised.value, "__notes__", [])]
    assert command in " ".join(said)


def test_a_child_that_outlives_the_program(built: Build, output: Path, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    recording = run(output, built("outlives"), answer)
    assert recording.exit_code == 6
    assert set(output.parent.iterdir()) == {trace.path for trace in recording.traces}
    for trace in recording.traces:
        open_trace(trace.path).verify()
    go_on(answer)  # without its logs
    assert set(output.parent.iterdir()) == {trace.path for trace in recording.traces}


def test_nothing_is_recorded_any_more_once_the_program_has_ended(
    built: Build, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = recorder_traces.read_processes

    def read_later(folder: Path) -> object:
        go_on(tmp_path / "answer")
        return real(folder)

    monkeypatch.setattr(recorder_traces, "read_processes", read_later)
    recording = run(output, built("outlives"), tmp_path / "answer")
    assert recording.exit_code == 6
    assert not any(of_size(trace.path, 555) for trace in recording.traces)
    assert set(output.parent.iterdir()) == {trace.path for trace in recording.traces}


def go_on(answer: Path) -> None:
    """Let the child of `outlives` go on to its end."""
    answer.touch()
    deadline = time.monotonic() + 10
    while answer.read_text() != "well" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert answer.read_text() == "well"


# ---- Outputs -------------------------------------------------------------------------------------


def test_an_earlier_recording_is_replaced_only_by_force(
    built: Build, output: Path, allocsim_here: Command
) -> None:
    mine = output.with_name("t.7-notes.parquet")
    mine.write_text("no trace")
    churn, others = built("churn"), built("runs_others")
    mine.rename(output.with_name("notes"))
    first = run(output, others, churn)
    output.with_name("notes").rename(mine)
    assert len(first.traces) == 4
    before = {path: path.read_bytes() for path in output.parent.iterdir()}
    code, out, message = allocsim_here("record", "-o", output, "--", churn)
    assert (code, out) == (2, "")
    assert message.startswith(f"error: {output}: there already; give another -o, or --force")
    assert {path: path.read_bytes() for path in output.parent.iterdir()} == before
    output.unlink()
    assert (
        "t.1-runs_others.parquet: there already"
        in allocsim_here("record", "-o", output, "--", churn)[2]
    )
    assert allocsim_here("record", "--force", "-o", output, "--", churn, 2)[0] == 3
    assert sorted(path.name for path in output.parent.iterdir()) == [mine.name, output.name]


def test_a_conversion_goes_on_over_its_own_traces(
    built: Build, output: Path, monkeypatch: pytest.MonkeyPatch, allocsim_here: Command
) -> None:
    from allocsim.trace import writer

    real, opened = writer._open_parquet, []

    def refuse_the_third(path: Path) -> object:
        opened.append(path)
        if len(opened) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path)

    monkeypatch.setattr(writer, "_open_parquet", refuse_the_third)
    code, _, message = allocsim_here(
        "record", "-o", output, "--", built("runs_others"), built("churn")
    )
    assert code == 2 and output.exists()
    assert allocsim_here(*shlex.split(message.partition(": allocsim ")[2]))[0] == 0
    assert len(list(output.parent.iterdir())) == 4


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.CSV"])
def test_no_recording_is_named_csv(
    built: Build, output: Path, name: str, allocsim_here: Command
) -> None:
    target = output.with_name(name)
    code, out, message = allocsim_here("record", "-o", target, "--", built("churn"))
    assert (code, out) == (2, "")
    assert f"name it {output}, then `allocsim trace export {output} -o {target}`" in message


def test_files_have_the_umask_s_rights(built: Build, output: Path) -> None:
    before = os.umask(0o027)
    try:
        run(output, built("churn"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(output.stat().st_mode) == 0o640


# ---- Provenance ----------------------------------------------------------------------------------


def test_a_program_has_the_name_that_it_was_started_by(built: Build, output: Path) -> None:
    link = output.parent.parent / "server"
    link.symlink_to(built("churn"))
    script = output.parent.parent / "script"
    script.write_text(f"#!/bin/sh\ncd /; {shlex.quote(str(link))}\n")
    script.chmod(0o755)
    recording = run(output, script)
    assert [trace.program for trace in recording.traces] == ["script", "server"]
    assert recording.traces[1].path.name == "t.1-server.parquet"
    assert open_trace(recording.traces[1].path).provenance.program == str(link)
    relative = run(output, "sh", "-c", f"cd {shlex.quote(str(link.parent))}; ./server", force=True)
    assert open_trace(relative.traces[-1].path).provenance.program == str(link)


def test_the_allocator_s_variables_are_kept(
    built: Build, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)  # Dask sets it in its process
    tunables = "glibc.malloc.tcache_count=0"
    variables = [f"GLIBC_TUNABLES={tunables}", "MALLOC_ARENA_MAX=1", "OTHER=2"]
    recording = run(output, "env", *variables, built("churn"))
    by_program = {
        trace.program: open_trace(trace.path).provenance.extras["allocator_environment"]
        for trace in recording.traces
    }
    kept = {"GLIBC_TUNABLES": tunables, "MALLOC_ARENA_MAX": "1"}
    assert by_program == {"churn": kept, "env": {}}
