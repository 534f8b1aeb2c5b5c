"""Runs a workload as a real C program: its memory at the end, and what a leak checker finds."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from allocsim.cbuild import build
from allocsim.claims.ops import trace_of
from allocsim.claims.spec import Workload
from allocsim.errors import AllocsimError, InputError
from allocsim.trace import Op, Trace

SOURCE = Path(__file__).with_name("c_replay.c")
_LOST = re.compile(r"(definitely lost|indirectly lost|still reachable): ([\d,]+) bytes")
_NOTHING_LEFT = "All heap blocks were freed"


class LeakCheckUnavailable(AllocsimError):
    """The machine cannot do it: no C compiler, or no valgrind."""


def leak_check(workload: Workload) -> dict[str, int]:
    """Compiles and runs the workload's ops, by itself and under valgrind.

    By itself, at the end: `live_bytes`, `resident_growth_bytes`. As valgrind reports them:
    `definitely_lost_bytes`, `indirectly_lost_bytes`, `still_reachable_bytes`. LeakCheckUnavailable
    when the machine has no compiler or no valgrind; AllocsimError when the program fails.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise LeakCheckUnavailable("valgrind is not installed")
    program = build_replay(trace_of(line for lines in workload.values() for line in lines))
    alone = _run([str(program)])
    live, before, after = map(int, alone.stdout.split())
    checked = _run([valgrind, "--leak-check=full", str(program)])
    return {"live_bytes": live, "resident_growth_bytes": after - before} | lost(checked.stderr)


def lost(report: str) -> dict[str, int]:
    """Bytes by kind in a report of valgrind's leak check."""
    found = {
        f"{kind.replace(' ', '_')}_bytes": int(n.replace(",", ""))
        for kind, n in _LOST.findall(report)
    }
    if not found and _NOTHING_LEFT not in report:
        raise AllocsimError(f"valgrind's report is not understood:\n{report.strip()}")
    kinds = ("definitely_lost_bytes", "indirectly_lost_bytes", "still_reachable_bytes")
    return dict.fromkeys(kinds, 0) | found


def build_replay(trace: Trace) -> Path:
    """A C program that makes the trace's calls and keeps its live blocks in a static table."""
    with tempfile.TemporaryDirectory(prefix="allocsim-") as folder:
        source = Path(shutil.copy(SOURCE, folder))
        (Path(folder) / "ops.h").write_text(ops_header(trace))
        try:
            return build(source)
        except InputError as error:
            raise LeakCheckUnavailable(str(error)) from None


def ops_header(trace: Trace) -> str:
    """The trace's ops as C: the table that the program goes through."""
    columns = (trace.op, trace.object, trace.size, trace.written, trace.offset)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    names = "".join(f"#define OP_{op.name} {int(op)}\n" for op in Op)
    table = "".join(f"    {{{', '.join(map(str, row))}}},\n" for row in rows)
    return (
        f"{names}#define N_OBJECTS {max(1, trace.n_slots)}\n"
        f"static const struct op ops[] = {{\n{table}}};\n"
    )


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise AllocsimError(
            f"{' '.join(command)} ended with status {ended.returncode}:\n{ended.stderr.strip()}"
        )
    return ended
