"""The replayer against other witnesses: an ordinary C program, and strace."""

import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from allocsim.cbuild import build
from allocsim.ground_truth import packed, replay
from allocsim.ground_truth.replay import replayer_command
from allocsim.trace import Op, Trace

MakeChurn = Callable[..., Trace]
MMAP_AREA = 0x7000_0000_0000

PLAIN_PROGRAM = """
#include <malloc.h>
#include <stdlib.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <unistd.h>
static char *slot[{n_slots}];
static char *address[{n_ops}];
int main(int n, char **arguments) {{
    if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE)) {{
        personality(ADDR_NO_RANDOMIZE);
        execv(arguments[0], arguments);
    }}
    long start = (long)sbrk(0);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    long i = n - 1;
{calls}
    getrusage(RUSAGE_SELF, &after);
    long figures[2] = {{start, after.ru_minflt - before.ru_minflt}};
    write(1, figures, sizeof figures);
    write(1, address, sizeof address);
}}
"""
CALLS = {
    Op.MALLOC: "malloc({size})",
    Op.CALLOC: "calloc(1, {size})",
    Op.REALLOC: "realloc(slot[{object}], {size})",
    Op.ALIGNED_ALLOC: "aligned_alloc({alignment}, {size})",
}


def as_c(op: int, object: int, size: int, alignment: int) -> str:
    if op not in CALLS:
        return f"free(slot[{object}]); slot[{object}] = 0; i++;"
    call = CALLS[Op(op)].format(object=object, size=size, alignment=alignment)
    write = f"for (long at = 0; at < {size}; at += 512) slot[{object}][at] = 1;"
    return f"address[i++] = slot[{object}] = {call}; {write}"


def run_plain(trace: Trace, folder: Path) -> np.ndarray:
    """The start of the heap, the program's faults, and the addresses that it got."""
    columns = (trace.op, trace.object, trace.size, trace.alignment)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    calls = "\n".join(as_c(*row) for row in rows)
    source = folder / "plain.c"
    source.write_text(PLAIN_PROGRAM.format(n_slots=trace.n_slots, n_ops=len(trace), calls=calls))
    program = build(source, flags=("-O0", "-w"))
    return np.frombuffer(
        subprocess.run([program], stdout=subprocess.PIPE, env={}).stdout, np.uint64
    )


def for_plain(trace: Trace) -> Trace:
    """Without touches, all written, and no alignment that depends on where the heap starts."""
    kept = trace.op <= Op.FREE
    columns = {name: column[kept] for name, column in trace.columns().items()}
    columns["alignment"] = np.minimum(columns["alignment"], 4096)
    return Trace.of(**columns | {"written": columns["size"]})


@pytest.mark.slow
def test_addresses_and_faults_are_those_of_a_plain_program(
    churn: MakeChurn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path / "cache"))
    trace = for_plain(churn(2000))
    plain, truth = run_plain(trace, tmp_path), replay(trace)
    # The plain program's heap starts after its larger variables; its mmap area is the same.
    in_heap = (truth.address > 0) & (truth.address < MMAP_AREA)
    expected = truth.address + np.where(in_heap, plain[0] - truth.start_brk, 0).astype(np.uint64)
    np.testing.assert_array_equal(plain[2:], expected)
    assert np.any(truth.address > MMAP_AREA)
    # Beyond the heap's, it faults on its own code, variables and stack.
    assert truth.minor_faults.sum() <= plain[1] < truth.minor_faults.sum() + 200


def test_syscalls_are_those_that_strace_sees(churn: MakeChurn, strace: str, tmp_path: Path) -> None:
    trace = churn(2000)
    names = "brk,mmap,munmap,mremap,mprotect,madvise"
    log = tmp_path / "log"
    with packed(trace) as stream, stream.path.open("rb") as ops:
        program = replayer_command(trace, "ops", "written", {}, str(tmp_path))
        command = [strace, "-f", "-o", str(log), "-e", f"trace={names}", *program]
        subprocess.run(command, stdin=ops, env={}, check=True)
    calls = re.findall(r"^\d+ +(\w+)\((.*)\) += (0x\w+|\d+)", log.read_text(), re.MULTILINE)
    mine = [
        i for i, (_, arguments, _) in enumerate(calls) if arguments.startswith("0x100000000000")
    ]
    after = calls[mine[-1] + 1 :]
    seen = [(name, int(result, 0)) for name, arguments, result in after if arguments != "NULL"]
    truth = replay(trace)
    reported = list(zip(truth.syscalls.name.tolist(), truth.syscalls.result.tolist(), strict=True))
    assert seen == reported
    assert Counter(name for name, _ in seen).keys() >= {"brk", "mmap", "munmap", "mremap"}
