"""What needs a process of its own: start-up times, compilation, and memory.

Run as a program it is that process: `python -m benchmarks.speed.separate TASK ARGUMENT`.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from allocsim.policy import load_policy
from allocsim.simulation import simulate
from allocsim.trace import Op, Trace, write_trace
from benchmarks.speed.pairs import spread
from benchmarks.speed.streams import Growing, Looped, closed
from benchmarks.speed.traces import SMALL, made

MIB = 1 << 20
BILLION = 1_000_000_000


# ---- in the parent
def run_task(task: str, argument: int) -> dict:
    """What a task prints, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, task, str(argument)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def start_times(rounds: int) -> dict[str, object]:
    """Seconds of `--help`, of the first compilation of glibc, and of starts with cached code."""
    allocsim = [sys.executable, "-c", "from allocsim.cli import main; main()"]
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "tiny.parquet"
        write_trace(trace, Trace.of(op=[Op.MALLOC, Op.FREE], object=0, size=[100, 0]))
        environment = os.environ | {"ALLOCSIM_CACHE": f"{folder}/cache"}
        first = timed([*allocsim, "warm", "glibc"], environment)
        run = [*allocsim, "simulate", str(trace), "--compiled"]
        cached = [timed(run, environment) for _ in range(rounds)]
        helped = [timed([*allocsim, "--help"], environment) for _ in range(rounds)]
    return {
        "first_compile_cpu_s": round(first[1], 2),
        "first_compile_wall_s": round(first[0], 2),
        "cached_start_wall_s": spread([wall for wall, _ in cached]),
        "help_wall_s": spread([wall for wall, _ in helped]),
    }


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds on the clock, and of processor time, that a command takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# ---- in the child
def memory(n_blocks: int) -> dict[str, float]:
    """Host memory beside the simulated resident set, for a heap of n small blocks.

    Not part of the simulation: the driver's table of objects, 8 bytes a block, and what Python and
    its libraries take with nothing loaded, half of it pages of library files. Anonymous memory
    leaves out the files' pages; it is taken at the end, when the heap is largest.
    """
    before = _status_bytes("VmHWM")
    result = simulate(Growing(n_blocks, 72), load_policy("glibc"), mode="compiled")
    return {
        "blocks": n_blocks,
        "simulated_resident_mib": result.totals["resident_peak_bytes"] / MIB,
        "host_peak_mib": _status_bytes("VmHWM") / MIB,
        "host_peak_before_mib": before / MIB,
        "host_anonymous_mib": _status_bytes("RssAnon") / MIB,
    }


def stream(n_ops: int) -> dict[str, float]:
    """Time and memory of a stream of small-object churn, looped to n operations."""
    source = Looped(closed(made(SMALL, 1_000_000)), n_ops)
    marks: list[tuple[int, int]] = []
    started = time.perf_counter()
    simulate(
        source,
        load_policy("glibc"),
        mode="compiled",
        progress=lambda done, _: marks.append((done, _status_bytes("VmHWM"))),
    )
    tenth = next(peak for done, peak in marks if done >= n_ops // 10)
    return {
        "ops": n_ops,
        "seconds": time.perf_counter() - started,
        "host_peak_after_a_tenth_mib": tenth / MIB,
        "host_peak_mib": marks[-1][1] / MIB,
    }


def _status_bytes(name: str) -> int:
    """What the kernel says of this process alone (VmHWM: peak of resident memory; RssAnon); for the
    peak, getrusage would count its parent's, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


TASKS: dict[str, Callable[[int], dict]] = {"memory": memory, "stream": stream}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]](int(sys.argv[2]))))
