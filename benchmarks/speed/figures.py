"""Single figures beside the table: decoding, whole simulations, threads."""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from allocsim.policy import load_policy
from allocsim.simulation import simulate
from allocsim.trace import Trace, open_trace, write_trace
from benchmarks.speed.pairs import simulated_ns, spread

GLIBC = load_policy("glibc")


def decoding(trace: Trace, rounds: int) -> dict[str, object]:
    """Million operations per second read from a Parquet file, and its bytes per operation."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.parquet"
        write_trace(path, trace)
        speeds = [len(trace) / _seconds(lambda: _read(path)) / 1e6 for _ in range(rounds)]
        return {
            "decode_mops": spread(speeds),
            "bytes_per_op": round(path.stat().st_size / len(trace), 2),
        }


def whole_simulation(trace: Trace, rounds: int) -> dict[str, object]:
    """Million operations per second of `simulate`, its checks, samples and walks included."""
    speeds = [len(trace) / _seconds(lambda: _simulation(trace)) / 1e6 for _ in range(rounds)]
    return {"simulate_mops": spread(speeds)}


def drive_loop(trace: Trace, rounds: int) -> dict[str, object]:
    """Million operations per second of the driver's loop, all written; interpreted thousands."""
    compiled = [1e3 / simulated_ns(GLIBC, trace, True) for _ in range(rounds)]
    prefix = trace[:200_000]
    interpreted = [1e6 / simulated_ns(GLIBC, prefix, True, compiled=False) for _ in range(rounds)]
    return {"compiled_mops": spread(compiled), "interpreted_kops": spread(interpreted)}


def two_threads(trace: Trace, rounds: int) -> dict[str, object]:
    """How much faster two threads do two runs than one thread, on the clock."""
    gains = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(rounds):
            one = _seconds(lambda: _simulations(trace, map))
            gains.append(one / _seconds(lambda: _simulations(trace, pool.map)))
    return {"two_threads_gain": spread(gains)}


def _simulations(trace: Trace, mapping: Callable) -> None:
    list(mapping(_simulation, [trace, trace]))


def _simulation(trace: Trace) -> None:
    simulate(trace, GLIBC, mode="compiled").close()


def _read(path: Path) -> None:
    for _ in open_trace(path).batches():
        pass


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
