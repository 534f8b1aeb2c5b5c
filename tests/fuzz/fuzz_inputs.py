"""Gives allocsim damaged and absurd inputs, and wants one line for each.

usage: python tests/fuzz/fuzz_inputs.py [--seeds 0:1000] [--minutes 10] [--kinds csv,costs]
       python tests/fuzz/fuzz_inputs.py --replay tests/fuzz/failures/csv-17

Each seed is one command on inputs of one kind: a valid one with a field changed or bytes damaged.
A command fails by a traceback, 20 s of CPU time, 1 GB of memory, a signal, control characters on
standard error, or an exit code that docs/exit_codes.md does not have. Its inputs and arguments are
kept in tests/fuzz/failures; shrink them by hand and move them to tests/regressions/inputs.
"""

import argparse
import json
import shutil
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import forked
from base_inputs import make_base
from kinds import KINDS, Kind

FAILURES = Path(__file__).parent / "failures"
ARGUMENTS = "arguments.json"


def fuzz(seed: int, kind: str, base: Path, failures: Path) -> tuple[int, str]:
    """One command: its exit code, and its problem, if it has one, with the folder that keeps it."""
    kept = failures / f"{kind}-{seed}"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    # Apart from this process, which so stays small and without threads.
    forked.apart(lambda: _make(KINDS[kind], Random(seed), base, kept))
    outcome = replay(kept)
    if not (problem := outcome.problem()):
        shutil.rmtree(kept)
        return outcome.code, ""
    (kept / "errors.txt").write_text(outcome.errors)
    return outcome.code, f"{kept}: {problem}"


def _make(kind: Kind, random: Random, base: Path, folder: Path) -> None:
    arguments = kind(random, base, folder)
    (folder / ARGUMENTS).write_text(json.dumps(arguments))


def replay(kept: Path) -> forked.Outcome:
    """The outcome of a command that was kept; its folder stays as it is."""
    with TemporaryDirectory(prefix="allocsim-fuzz-") as name:
        folder = Path(name) / "inputs"
        shutil.copytree(kept, folder, symlinks=True)
        return forked.run(tuple(json.loads((kept / ARGUMENTS).read_text())), folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0:1000")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--failures", type=Path, default=FAILURES)
    parser.add_argument("--replay", type=Path, nargs="+")
    given = parser.parse_args()
    if given.replay:
        return _replay_all(given.replay)
    return _search(given)


def _replay_all(folders: list[Path]) -> int:
    outcomes = {kept: replay(kept) for kept in folders}
    for kept, outcome in outcomes.items():
        print(f"{kept}: exit code {outcome.code}; {outcome.problem() or 'as it should be'}")
        print(outcome.errors[-forked.SHOWN_CHARACTERS :])
    return int(any(outcome.problem() for outcome in outcomes.values()))


def _search(given: argparse.Namespace) -> int:
    first, last = map(int, given.seeds.split(":"))
    kinds = given.kinds.split(",") if given.kinds else list(KINDS)
    end, codes, n_failed = (
        time.monotonic() + 60 * given.minutes,
        defaultdict[str, Counter](Counter),
        0,
    )
    with TemporaryDirectory(prefix="allocsim-fuzz-base-") as name:
        base = Path(name)
        make_base(base)
        for seed in range(first, last):
            if time.monotonic() > end:
                break
            kind = kinds[seed % len(kinds)]
            code, problem = fuzz(seed, kind, base, given.failures)
            codes[kind][code] += 1
            if problem:
                n_failed += 1
                print(problem, flush=True)
    for kind, counts in codes.items():
        shown = ", ".join(f"{n} with {code}" for code, n in sorted(counts.items()))
        print(f"{kind}: {counts.total()} commands, which ended {shown}")
    print(f"{sum(counts.total() for counts in codes.values())} inputs: {n_failed} failed")
    return int(n_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
