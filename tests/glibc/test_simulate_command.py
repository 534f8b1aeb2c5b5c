"""`allocsim simulate` writes what the replayer reports of the real library, column by column."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from random_traces import Program

from allocsim.ground_truth import replay
from allocsim.trace import Trace, open_trace, write_trace

ALLOCSIM = Path(sys.executable).with_name("allocsim")
TRACES = Path(__file__).parents[2] / "workloads" / "traces"
VARIABLES = {
    "MALLOC_ARENA_MAX": "2",
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=40000:glibc.malloc.tcache_count=3",
}

pytestmark = pytest.mark.usefixtures("real_glibc")


def recorded() -> Trace:
    return next(open_trace(TRACES / "git-log.parquet").batches(20_000))


def threaded() -> Trace:
    return Program(Random(5), n_threads=4).trace(1500)


def simulated(folder: Path, *options: str) -> tuple[pa.Table, pa.Table, dict]:
    """Ops, system calls and numbers of the trace in `folder`."""
    files = ("--ops", "ops.parquet", "--syscalls", "syscalls.parquet", "--start-maps", "maps")
    command = [ALLOCSIM, "simulate", "t.parquet", "--policy", "glibc", *files, *options, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    tables = (pq.read_table(folder / name) for name in ("ops.parquet", "syscalls.parquet"))
    return *tables, json.loads(done.stdout)["runs"][0]


def assert_same(table: pa.Table, other: pa.Table) -> None:
    assert table.column_names == other.column_names
    for name in table.column_names:
        ours, real = (column.to_numpy().tolist() for column in (table[name], other[name]))
        assert ours == real, name


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, VARIABLES], ids=["defaults", "variables"])
def test_a_recorded_trace(tmp_path, environment):
    write_trace(tmp_path / "t.parquet", recorded())
    truth = replay(recorded(), environment=environment)
    (tmp_path / "maps").write_text(truth.start_maps)
    variables = [f"--environment={name}={value}" for name, value in environment.items()]
    ops, calls, numbers = simulated(tmp_path, "--start-brk", hex(truth.start_brk), *variables)
    assert_same(ops, truth.table())
    assert_same(calls, truth.syscalls.table())
    assert numbers["heap_resident_pages"] == truth.heap_resident_pages
    assert numbers["mallinfo2"] == truth.mallinfo2
    assert numbers["totals"]["syscalls"] == len(truth.syscalls)
    assert numbers["totals"]["minor_faults"] == truth.minor_faults.sum()


@pytest.mark.slow
@pytest.mark.parametrize("cpus", [1, 3])
def test_threads_from_the_address_space_after_their_creation(tmp_path, cpus):
    write_trace(tmp_path / "t.parquet", threaded())
    truth = replay(threaded(), cpus=cpus)
    (tmp_path / "maps").write_text(truth.start_maps)
    start_brk = ("--start-brk", hex(truth.start_brk))
    ops, calls, numbers = simulated(tmp_path, "--cpus", str(cpus), *start_brk)
    assert_same(ops, truth.table())
    real_calls = truth.syscalls.table()
    assert_same(calls, real_calls.filter(np.asarray(real_calls["op"]) >= 0))
    assert numbers["heap_resident_pages"] == truth.heap_resident_pages
    assert numbers["mallinfo2"] == truth.mallinfo2
