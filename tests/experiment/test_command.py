import errno
import fcntl
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from io import StringIO

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from allocsim.errors import InputError, SimulationError
from allocsim.experiment import command as command_module
from allocsim.experiment import store as store_module
from allocsim.experiment.command import run_command
from allocsim.experiment.execution import execute
from allocsim.experiment.execution.executors import InlineExecutor, Workers
from allocsim.experiment.execution.limits import Limits
from allocsim.experiment.execution.processes import Stopped, processes
from allocsim.experiment.load import load_experiment
from allocsim.experiment.progress import LiveReporter, PlainReporter
from allocsim.experiment.results import read_results
from allocsim.experiment.runner import make_runs
from allocsim.experiment.store import RunStore, StoreError
from allocsim.experiment.sweep import expand
from allocsim.experiment.table import summary_view

NO_LIMITS = Limits("off", None)


@pytest.fixture
def run(experiment_file, tmp_path, console):
    """Runs the tiny experiment into `tmp_path`/out in this process; returns the exit code."""

    def call(**options):
        arguments = {"jobs": 1, "force": False} | options
        return run_command(str(experiment_file), tmp_path / "out", console=console, **arguments)

    return call


def test_every_run_ends_up_in_the_table_and_on_the_console(run, simulations, tmp_path, console):
    assert run() == 0
    assert len(simulations) == 6
    table = pq.read_table(tmp_path / "out" / "runs.parquet").to_pylist()
    assert [row["parameter.threshold"] for row in table] == [1, 1, 10, 10, 100, 100]
    assert {row["workload"] for row in table} == {"steady"}
    text = console.text()  # two jobs end in any order
    assert "6/6  " in text and "steady, bump threshold=100, seed 2" in text
    assert "100 B (least CPU)" in text and "1 B (least memory)" in text
    assert "CPU time falls by a factor of 50.5 between 1 B and 100 B" in text
    assert "6 runs (0 of them kept)" in text


def test_the_manifest_says_what_was_run_and_where_curves_turn(run, simulations, tmp_path):
    run()
    results = read_results(tmp_path / "out")
    assert results.name == "tiny" and results.manifest["finished"] == 6
    assert results.manifest["units"]["threshold"] == "bytes"
    assert results.manifest["costs"]["table"] == "shipped"
    [turn] = results.manifest["turns"]
    assert (turn["cpu"]["shape"], turn["memory"]["shape"]) == ("falls", "rises")
    stored = results.stored(results.rows[0])
    assert stored.table("samples")["op"].tolist() == [0, 1, 2, 3]


def test_nothing_is_computed_twice(run, simulations, console):
    assert run() == run() == 0
    assert len(simulations) == 6 and "0 runs to make, 6 kept" in console.text()
    assert run(force=True) == 0
    assert len(simulations) == 12


def test_a_damaged_run_is_computed_again(run, simulations, tmp_path):
    run()
    [segment] = (tmp_path / "out" / "runs").iterdir()
    segment.write_bytes(segment.read_bytes()[:500])
    simulations.clear()
    run()
    assert len(simulations) == 6


def interrupt_after(monkeypatch, n_runs, error):
    """The engine works for `n_runs` simulations, and raises `error` in each after that."""
    engine, left = execute.run_spec, [n_runs]

    def run_spec(*arguments, **options):
        if left[0] == 0:
            raise error
        left[0] -= 1
        return engine(*arguments, **options)

    monkeypatch.setattr(execute, "run_spec", run_spec)


def test_ctrl_c_keeps_what_is_finished_and_the_next_run_goes_on(
    run, simulations, tmp_path, console, monkeypatch
):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2, KeyboardInterrupt())
        assert run() == 130
    assert "interrupted, 4 runs left; the same command goes on from here" in console.text()
    results = read_results(tmp_path / "out")
    assert len(results.rows) == 2
    assert results.manifest["interrupted"] and len(results.manifest["missing"]) == 4
    assert run() == 0
    assert len(simulations) == 6


def test_a_failing_run_is_told_and_the_others_go_on(
    run, simulations, tmp_path, console, monkeypatch
):
    interrupt_after(monkeypatch, 4, SimulationError("free of an address never given out", 0x10))
    assert run() == 1
    text = console.text()
    assert "FAILED steady, bump threshold=100, seed 1: free of an address never given" in text
    assert "2 runs failed" in text
    results = read_results(tmp_path / "out")
    assert len(results.rows) == 4
    assert [failure["run"] for failure in results.manifest["failed"]] == [
        f"steady, bump threshold=100, seed {seed}" for seed in (1, 2)
    ]


def test_a_bug_in_a_policy_is_a_failure_with_its_traceback(run, tmp_path, simulations, monkeypatch):
    interrupt_after(monkeypatch, 0, ZeroDivisionError("division by zero"))
    assert run() == 1
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["failed"][0]["message"] == "ZeroDivisionError: division by zero"
    assert "Traceback" in manifest["failed"][0]["details"]


def fill_disk_after(monkeypatch, n_runs):
    """Every run is written when it is finished; after `n_runs` there is no room for anything."""
    write_whole, left = store_module.write_whole, [n_runs]

    def write(path, content):
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        write_whole(path, content)

    monkeypatch.setattr(store_module, "_FLUSH_BYTES", 0)
    monkeypatch.setattr(store_module, "write_whole", write)


def test_a_full_disk_stops_the_sweep_and_keeps_what_is_there(
    run, simulations, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        fill_disk_after(patch, 2)
        with pytest.raises(
            StoreError, match=r"No space left on device; .* the same command goes on"
        ):
            run()
    simulations.clear()
    assert run() == 0
    assert len(simulations) == 4


@pytest.mark.parametrize("width", [80, 60, 45])
def test_no_cell_of_the_table_is_torn_or_cut_in_narrow_terminals(run, simulations, tmp_path, width):
    run()
    rows = [
        {**row, "workload": workload, "parameters": {**row["parameters"], "tcache_count": count}}
        for workload in ("steady", "churning")
        for count in (7, 65535)
        for row in read_results(tmp_path / "out").rows
    ]
    console = Console(file=StringIO(), width=width, highlight=False)
    console.print(summary_view(rows, [], {"threshold": "bytes"}, 0.05))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width and "…" not in console.file.getvalue()
    pieces = [piece for line in lines for piece in re.split(r"  +", line.strip()) if piece]
    shown = {"threshold=100 B", "threshold=1 B", "tcache_count=7", "9.90 ns", "4.98 KiB", "1.50"}
    assert shown <= set(pieces)
    known = shown | {"steady", "churning", "bump", "(least CPU)", "(least memory)", "workload"}
    known |= {
        "500 ns",
        "4.01 KiB",
        "policy",
        "setting",
        "CPU",
        "resident peak",
        "peak / live",
        "mean",
        "syscalls",
    }
    assert set(pieces) <= known | {"page faults", "3", "7"}


HOSTILE = ("[/x]", "$x_$", "\x1b[2J", "two\nlines", "\u202egnp", "a" * 10_000, "a" * 9_999 + "b")


def test_labels_are_text_on_the_console_and_results_are_written(
    experiment_file, tmp_path, simulations, capsys
):
    entries = [f'{{ use = "bump.py", label = {json.dumps(label)} }}' for label in HOSTILE]
    text = experiment_file.read_text().replace('["bump.py"]', f"[{', '.join(entries)}]")
    experiment_file.write_text(text.replace('"steady"', json.dumps("[bold]\x1b]0;steady")))
    assert run_command(str(experiment_file), tmp_path / "out", 1, False) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\u202e" not in shown and "a" * 200 not in shown
    for label in ("[/x]", "$x_$", r"\x1b[2J", r"two\nlines", r"\u202egnp", "[bold]"):
        assert label in shown
    assert {row["label"] for row in read_results(tmp_path / "out").rows} == set(HOSTILE)


def test_failures_are_text_on_the_live_console(experiment_file):
    [first, *_] = expand(load_experiment(experiment_file))
    console = Console(file=StringIO(), force_terminal=True, color_system=None, width=100)
    reporter = LiveReporter(console)
    reporter.begin(1, 0)
    reporter.end_run(replace(first, label="[/x]"), "no [/y] \x1b[2J", failed=True)
    reporter.close()
    assert "failed steady, [/x] threshold=1, seed 1: no [/y] \\x1b[2J" in console.file.getvalue()


def test_the_table_is_shown_even_if_it_cannot_be_written(run, simulations, tmp_path, console):
    (tmp_path / "out" / "index.sqlite").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"index.sqlite: cannot write: "):
        run()
    assert "CPU time falls by a factor of 50.5" in console.text()


def test_two_sweeps_do_not_write_to_one_folder(run, simulations, tmp_path):
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="another sweep is writing there"):
            run()
    assert not simulations


def test_exhausted_memory_and_unmeasured_costs_are_told(run, console, made_up, monkeypatch):
    def run_spec(spec, _observers):
        result = made_up(spec.parameters)
        result.totals["failed_requests"] = 3 if spec.parameters["threshold"] == 1 else 0
        return result

    monkeypatch.setattr(execute, "run_spec", run_spec)
    monkeypatch.setattr(execute, "needs_process", lambda run, threads_from_ops: False)
    run()
    assert "unit costs: shipped" in console.text()
    assert "not this machine's: see allocsim calibrate" in console.text()
    assert "some requests failed, in steady under bump\n" in console.text()


def test_results_are_written_before_anything_is_printed(run, simulations, tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("a table that cannot be printed")

    monkeypatch.setattr(command_module, "summary_view", fails)
    with pytest.raises(RuntimeError):
        run()
    assert len(read_results(tmp_path / "out").rows) == 6


def tables(folder):
    return [(folder / name).read_bytes() for name in ("runs.parquet", "index.sqlite")]


def test_tables_are_the_same_bytes_whatever_made_the_runs(run, simulations, tmp_path, monkeypatch):
    run()
    expected = tables(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3, KeyboardInterrupt())
        run()
    assert tables(tmp_path / "out") != expected
    run()
    assert tables(tmp_path / "out") == expected
    run(force=True)
    assert tables(tmp_path / "out") == expected


def test_what_two_experiments_share_is_computed_once(run, simulations, tmp_path, experiment_file):
    run()
    text = experiment_file.read_text().replace("[1, 10, 100]", "[10, 100, 1000]")
    (tmp_path / "other.toml").write_text(text.replace('"tiny"', '"other"'))
    console = Console(file=StringIO())
    assert run_command(str(tmp_path / "other.toml"), tmp_path / "other", 1, False, console) == 0
    assert len(simulations) == 8
    shutil.rmtree(tmp_path / "out")
    results = read_results(tmp_path / "other")
    assert [len(results.stored(row).table("samples")["op"]) for row in results.rows] == [4] * 6


def test_planted_links_are_replaced_and_not_followed(run, simulations, tmp_path):
    run()
    (tmp_path / "victim").write_text("precious")
    for name in ("runs.parquet", "index.sqlite", "manifest.json", ".runs.parquet"):
        path = tmp_path / "out" / name
        path.unlink(missing_ok=True)
        path.symlink_to(tmp_path / "victim")
    assert run() == 0
    assert (tmp_path / "victim").read_text() == "precious"
    assert len(read_results(tmp_path / "out").rows) == 6


def test_the_index_is_made_anew_from_the_runs(run, simulations, tmp_path):
    run()
    path = tmp_path / "out" / "index.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE runs SET cpu_ns = 1 WHERE seed = 1")
    run()
    with closing(sqlite3.connect(path)) as database:
        query = 'SELECT "parameter.threshold", seed, cpu_ns FROM runs'
        rows = database.execute(query).fetchall()
    assert rows == [(t, s, 1000 / (1 + t)) for t in (1, 10, 100) for s in (1, 2)]
    path.write_bytes(b"no database" * 1000)
    run()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (6,)


def test_results_of_the_older_format_are_computed_again(run, simulations, tmp_path):
    old = tmp_path / "out" / "runs" / "0a1b"
    old.mkdir(parents=True)
    (old / "manifest.json").write_text('{"format": 2}')
    (tmp_path / "out" / "manifest.json").write_text('{"format": 2, "name": "tiny"}')
    with pytest.raises(InputError, match=r"format 2, .* `allocsim run EXPERIMENT` computes them"):
        read_results(tmp_path / "out")
    assert run() == 0 and len(simulations) == 6
    assert len(read_results(tmp_path / "out").rows) == 6


@pytest.mark.parametrize(
    "executor", [lambda: ThreadPoolExecutor(2), InlineExecutor], ids=["threads", "inline"]
)
def test_any_executor_makes_the_runs(executor, experiment_file, tmp_path, console, simulations):
    runs = expand(load_experiment(experiment_file))
    store = RunStore(tmp_path / "out")
    with store.writing(), executor() as workers:
        reporter = PlainReporter(console)
        outcome = make_runs(runs, store, reporter, Workers(workers, 2, 1 << 30), limits=NO_LIMITS)
    assert outcome.stored.keys() == {run.key for run in runs}
    assert len(simulations) == 6


def test_runs_in_threads_stop_at_their_next_sample(experiment_file, monkeypatch):
    monkeypatch.setattr(execute, "needs_process", lambda run, threads_from_ops: False)
    [first, *_] = expand(load_experiment(experiment_file))
    processes.stop("a sweep")
    with pytest.raises(Stopped):
        execute.execute_run(first, NO_LIMITS, "a sweep")
    late = execute.execute_run(first, replace(NO_LIMITS, time_s=1e-9), "another")
    assert re.fullmatch(r"op \d+: it took longer than 1e-09 s .*limits.time_s.*", late.message)


SLEEPY = """\
import os
import time

from allocsim.component import Param
from allocsim.policy import Policy

HERE = os.path.dirname(__file__)


class Sleepy(Policy):
    threshold = Param(0, low=0, high=1000)

    def malloc(self, size):
        {body}
        return self.kernel.sbrk((size + 15) // 16 * 16)

    def free(self, address):
        pass
"""


@pytest.fixture
def command(experiment_file, tmp_path):
    """The command as a user types it, two jobs, a policy with the given body of malloc."""

    def start(body):
        (tmp_path / "bump.py").write_text(SLEEPY.format(body=body))
        # What a build starts in the background inherits that Ctrl-C is ignored.
        code = (
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
            "from allocsim.cli import main; main()"
        )
        return subprocess.Popen(
            [sys.executable, "-c", code, "run", str(experiment_file), "-o", "out", "-j", "2"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return start


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def processes_of(session):
    found = subprocess.run(["ps", "-s", str(session), "-o", "pid="], capture_output=True, text=True)
    return found.stdout.split()


def finished(tmp_path):
    """When each run that is stored was finished, by key."""
    keys = [run.key for run in expand(load_experiment(tmp_path / "tiny.toml"))]
    store = RunStore(tmp_path / "out")
    return {key: store.record(key).written_ns for key in store.find(keys)}


SLOW_FROM_10 = "if self.threshold >= 10: time.sleep(600)"


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [True, False], ids=["terminal", "parent only"])
def test_ctrl_c_ends_all_workers_promptly(command, tmp_path, to_all):
    process = command(SLOW_FROM_10)
    wait_for(lambda: len(finished(tmp_path)) == 2)
    time.sleep(0.5)
    (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 130, text
    assert "interrupted, 4 runs left" in text and "Traceback" not in text
    wait_for(lambda: not processes_of(process.pid))
    assert len(read_results(tmp_path / "out").rows) == 2


@pytest.mark.slow
@pytest.mark.full
def test_a_killed_sweep_leaves_no_workers_and_resumes(command, tmp_path, monkeypatch):
    process = command(SLOW_FROM_10)
    wait_for(lambda: len(finished(tmp_path)) == 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not processes_of(process.pid))
    before = finished(tmp_path)
    # The policy's source is part of the key, so the clock is what makes it fast now.
    (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep = lambda seconds: None\n")
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    text, _ = command(SLOW_FROM_10).communicate(timeout=240)
    assert "4 runs to make, 2 kept from before" in text
    after = finished(tmp_path)
    assert len(after) == 6 and before.items() <= after.items()


@pytest.mark.slow
def test_a_worker_that_dies_fails_its_run_only(command, tmp_path):
    process = command("if self.threshold == 10: os._exit(9)")
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 1, text
    assert re.search(
        r"FAILED steady, bump threshold=10, seed 1: (op \d+: )?its worker process died: exit code",
        text,
    )
    assert len(read_results(tmp_path / "out").rows) == 4
