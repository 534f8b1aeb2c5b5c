"""`python -m benchmarks.speed`: measure, print, and keep the results."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from allocsim.ground_truth.calibration.machine import machine
from benchmarks.speed import figures, separate, table
from benchmarks.speed.pairs import Case, Row, measure, spread
from benchmarks.speed.traces import LARGE, SMALL, made, recorded

RESULTS = Path(__file__).parents[1] / "results"
MMAP_ONLY = {"mmap_threshold": 0, "mmap_max": 2**31 - 1}
MMAP_ONLY_OPS = 200_000  # each costs microseconds
MEMORY_BLOCKS = 10_000_000
RECORDED_AT_MOST = 1.5


def main() -> None:
    """Measure everything, print it, and write JSON and the document's table."""
    options = _options()
    results = {"format": 1, "machine": machine(), "versions": _versions()}
    results["rounds"] = options.rounds
    rows = [row for case in _cases(options) for row in _measured(case, options.rounds)]
    if not rows:
        print(f"no trace's name starts with {' or '.join(options.only)}", file=sys.stderr)
        sys.exit(2)
    results["rows"] = [row.figures() for row in rows]
    results["rounds_of_each_row"] = [_rounds(row) for row in rows]
    results["figures"] = dict(_figures(rows, options))
    print(table.markdown(results))
    if options.keep:
        _keep(results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="of each measurement [15]")
    parser.add_argument("--ops", type=int, help="at most so many operations of each trace")
    parser.add_argument("--only", action="append", help="traces, by the start of their name")
    parser.add_argument("--no-figures", action="store_true", help="only the traces' rows")
    parser.add_argument("--billion", action="store_true", help="also a stream of 10^9 operations")
    parser.add_argument("--keep", action="store_true", help="write JSON and the document's table")
    options = parser.parse_args()
    if options.rounds < 1 or (options.ops or 1) < 1:
        parser.error("--rounds and --ops are numbers from 1 on")
    return options


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    large = made(LARGE, options.ops)
    cases = [
        Case("small churn", made(SMALL, options.ops), most_ratio=(1.6, 1.5)),
        Case("large buffers", large, most_ratio=(1.3, 1.0)),
        Case("large buffers", large[:MMAP_ONLY_OPS], "mmap_only", MMAP_ONLY, (0.2, 0.1), 20_000),
        *(Case(f"recorded: {name}", trace[: options.ops]) for name, trace in recorded().items()),
    ]
    for case in cases:
        if not options.only or case.name.startswith(tuple(options.only)):
            yield replace(case, interpreted_ops=min(case.interpreted_ops, options.ops or 10**9))


def _measured(case: Case, rounds: int) -> list[Row]:
    print(f"{case.name}, {case.policy} …", file=sys.stderr, flush=True)
    return measure(case, rounds)


def _rounds(row: Row) -> dict[str, list[float]]:
    names = ("compiled", "real", "first", "loop", "interpreted")
    return {name: getattr(row, name) for name in names}


def _figures(rows: list[Row], options: argparse.Namespace) -> Iterator[tuple[str, object]]:
    for writing in (False, True):
        ratios = [r.ratios for r in rows if r.writing == writing and "recorded" in r.case.name]
        if ratios:
            name = "all" if writing else "nothing"
            means = np.exp(np.log(np.array(ratios)).mean(axis=0))
            yield f"recorded, {name} written: geometric mean of ratios", spread(list(means))
    if not options.no_figures:
        churn = made(SMALL, options.ops)
        for measured in (figures.drive_loop, figures.whole_simulation, figures.decoding):
            yield from measured(churn, options.rounds).items()
        yield from figures.two_threads(churn, options.rounds).items()
        yield from separate.start_times(options.rounds).items()
        yield from separate.run_task("memory", options.ops or MEMORY_BLOCKS).items()
    if options.billion:
        for name, value in separate.run_task("stream", options.ops or separate.BILLION).items():
            yield f"stream: {name}", value


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("allocsim", "numba", "numpy", "pyarrow")} | {
        "python": sys.version.split()[0]
    }


def _keep(results: dict) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"speed-{results['machine']['date'][:10]}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    table.write_into_document(results)
    print(f"\nwritten: {path}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted; nothing is written", file=sys.stderr)
        sys.exit(130)
