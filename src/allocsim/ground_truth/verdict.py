"""What a comparison of model and real library finds: equal, or the first difference."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from allocsim.ground_truth.modelled import Modelled
from allocsim.ground_truth.results import GroundTruth, Syscalls
from allocsim.trace import Op, Trace

CONTEXT_OPS, OPS_AFTER = 5, 2  # shown before and after the one that differs


@dataclass(frozen=True)
class Verdict:
    """Whether model and reality are equal; if not, where they first differ.

    what: "" if equal, else address, minor_faults, syscalls, heap_resident_pages, end_brk or
    mallinfo2. op: the first op that differs, or -1. real, model: both values in words. context: the
    ops around that one, a line each. heaps: both heaps after that op, side by side, if asked for.
    """

    ops: int
    syscalls: int
    what: str = ""
    op: int = -1
    real: str = ""
    model: str = ""
    context: tuple[str, ...] = field(default_factory=tuple)
    heaps: tuple[str, ...] = field(default_factory=tuple)

    @property
    def equal(self) -> bool:
        return not self.what

    @property
    def ops_to_show(self) -> int:
        """After how many ops the difference is there; none for system calls before the first."""
        if self.op < 0 and self.what != "syscalls":
            return self.ops
        return self.op + 1

    def __str__(self) -> str:
        if self.equal:
            return f"equal: {self.ops} ops, {self.syscalls} system calls"
        where = f" at op {self.op}" if self.op >= 0 else ""
        lines = [f"{self.what} differs{where}", f"  real:  {self.real}", f"  model: {self.model}"]
        return "\n".join([*lines, *(f"    {line}" for line in self.context), *self.heaps])


def compared(trace: Trace, truth: GroundTruth, model: Modelled) -> Verdict:
    """The difference that comes first in the order of ops; of one op: address, faults, calls."""
    equal = Verdict(len(trace), 0 if truth.syscalls is None else len(truth.syscalls))
    found = [*_differing_columns(truth, model), *_differing_calls(truth, model)]
    if not found:
        return _differing_end(truth, model, equal)
    op, what, real, simulated = min(found, key=lambda difference: difference[0])
    context = _context(trace, truth, op) if op >= 0 else ()
    return replace(equal, what=what, op=op, real=real, model=simulated, context=context)


Difference = tuple[int, str, str, str]  # op, what differs, real, model


def _differing_columns(truth: GroundTruth, model: Modelled) -> Iterator[Difference]:
    for what in ("address", "minor_faults"):
        real, simulated = getattr(truth, what), getattr(model, what)
        differs = real.astype(np.int64) != simulated
        if differs.any():
            op = int(np.argmax(differs))
            yield op, what, _value_text(what, real[op]), _value_text(what, simulated[op])


def _differing_calls(truth: GroundTruth, model: Modelled) -> Iterator[Difference]:
    real_calls = _as_tuples(truth.syscalls)
    if real_calls == model.syscalls:
        return
    pairs = zip([*real_calls, None], [*model.syscalls, None], strict=False)
    real, simulated = next((r, s) for r, s in pairs if r != s)
    op = min(call[0] for call in (real, simulated) if call is not None)
    yield op, "syscalls", _call_text(real), _call_text(simulated)


def _value_text(what: str, value: np.integer) -> str:
    return f"{int(value):#x}" if what == "address" else str(int(value))


def _differing_end(truth: GroundTruth, model: Modelled, equal: Verdict) -> Verdict:
    """Compare what is left at the end."""
    pairs = {
        "heap_resident_pages": (truth.heap_resident_pages, model.heap_resident_pages()),
        "end_brk": (truth.end_brk, model.end_brk),
        "mallinfo2": (truth.mallinfo2, model.driver.policy.mallinfo2()),
    }
    for what, (real, simulated) in pairs.items():
        if real != simulated:
            return replace(equal, what=what, real=str(real), model=str(simulated))
    return equal


def _as_tuples(calls: Syscalls | None) -> list[tuple]:
    if calls is None:
        return []
    arguments = calls.arguments.astype(np.int64).tolist()
    rows = zip(
        calls.op.tolist(), calls.name.tolist(), arguments, calls.result.tolist(), strict=True
    )
    return [(op, name, *six, result) for op, name, six, result in rows]


def _call_text(call: tuple | None) -> str:
    if call is None:
        return "no further system call"
    op, name, *arguments, result = call
    return f"op {op}: {name}({', '.join(map(hex, arguments))}) = {result:#x}"


def _context(trace: Trace, truth: GroundTruth, op: int) -> tuple[str, ...]:
    """The ops around `op`, with what really happened."""
    around = range(max(0, op - CONTEXT_OPS), min(len(trace), op + OPS_AFTER + 1))
    return tuple(_op_text(trace, truth, i) for i in around)


def _op_text(trace: Trace, truth: GroundTruth, i: int) -> str:
    name = Op(int(trace.op[i])).label
    alignment = f" alignment {trace.alignment[i]}" if trace.alignment[i] else ""
    return (
        f"op {i}: thread {trace.thread[i]} {name} object {trace.object[i]} size {trace.size[i]}"
        f"{alignment} -> {int(truth.address[i]):#x}, {truth.minor_faults[i]} faults"
    )
