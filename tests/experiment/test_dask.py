"""A Dask cluster makes the same tables, whatever happens to its workers."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from allocsim.errors import InputError
from allocsim.experiment.command import run_command
from allocsim.experiment.execution.dask_cluster import dask_workers

distributed = pytest.importorskip("distributed")

POLICY = """\
import time

from allocsim import Param, Policy


class Slow(Policy):
    pad = Param(0, low=0, high=100)

    def malloc(self, size):
        if self.pad == 1 and size == 64:
            time.sleep({delay})
        if self.pad == 99:
            raise ValueError("on purpose")
        return self.kernel.sbrk(size + self.pad * 16)

    def free(self, address):
        pass
"""

FILE = """\
name = "spread"
samples = 8
walks = 0
policies = ["slow.py"]
[[workloads]]
name = "synthetic"
ops = 400
sizes = { distribution = "choice", sizes = [64, 100, 1000] }
[[workloads]]
trace = "t.parquet"
[grid]
pad = [0, 1, 2, 3, 99]
"""


def tables(folder):
    return [(folder / name).read_bytes() for name in ("runs.parquet", "index.sqlite")]


@pytest.fixture
def experiment(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    rows = "".join(f"malloc,0,{i},{16 * i + 1}\n" for i in range(200))
    (folder / "t.csv").write_text("op,thread,object,size\n" + rows)
    command = "from allocsim.cli import main; main()"
    arguments = ["trace", "import", "t.csv", "-o", "t.parquet"]
    subprocess.run([sys.executable, "-c", command, *arguments], cwd=folder, check=True)
    (folder / "slow.py").write_text(POLICY.format(delay=0.02))
    (folder / "spread.toml").write_text(FILE)
    return folder / "spread.toml"


def kill_two(scheduler):
    """Kills two workers, nannies and all, as soon as runs are under way."""
    with distributed.Client(scheduler) as client:
        while not any(client.processing().values()):
            time.sleep(0.05)
        time.sleep(1)
        for pid in list(client.run(os.getpid).values())[:2]:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_two_of_four_workers_are_killed_and_the_tables_are_the_same(experiment, tmp_path, console):
    assert run_command(str(experiment), tmp_path / "a" / "here", 2, False, console) == 1
    with distributed.LocalCluster(n_workers=4, threads_per_worker=1, silence_logs=50) as cluster:
        address = cluster.scheduler_address
        killer = threading.Thread(target=kill_two, args=(address,), daemon=True)
        killer.start()
        there = tmp_path / "b" / "there"
        code = run_command(str(experiment), there, None, False, console, cluster=address)
        killer.join(timeout=30)
        assert not killer.is_alive()
    assert code == 1
    assert tables(tmp_path / "a" / "here") == tables(there)
    text = console.text()
    assert "4 Dask workers, 4 runs at once; dashboard: http" in text
    assert text.count("ValueError: on purpose") == 2 * 2
    assert "10 runs to make" in text and "8 runs (0 of them kept)" in text


@pytest.mark.slow
def test_workers_need_no_file_of_the_submitter(experiment, tmp_path, console):
    """What a worker opens lies in its own folder: the submitter's may be on another machine."""
    from allocsim.experiment.execution.limits import LimitOptions, Limits
    from allocsim.experiment.load import load_experiment
    from allocsim.experiment.records import Record
    from allocsim.experiment.sweep import expand

    runs = [run for run in expand(load_experiment(str(experiment))) if run.parameters["pad"] == 2]
    limits = Limits.of(LimitOptions(), 1 << 30, jobs=1)
    with dask_workers("local", 1) as workers:
        first = workers.executor.submit(None, runs, limits, "sweep").result()
        shutil.rmtree(experiment.parent)
        again = workers.executor.submit(None, runs, limits, "sweep").result()
    assert all(isinstance(record, Record) for record in [*first, *again])
    assert [record.result for record in first] == [record.result for record in again]
    assert all(str(experiment.parent / "slow.py") in record.run for record in first)


@pytest.mark.parametrize("where", ["tcp://127.0.0.1:1", "nonsense", "missing.json"])
def test_a_cluster_that_is_not_there_is_one_line(where, monkeypatch, tmp_path):
    monkeypatch.setattr("allocsim.experiment.execution.dask_cluster._CONNECT_S", 1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="--cluster"), dask_workers(where, 1):
        pass
