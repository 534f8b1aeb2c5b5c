"""Sources of any length that take next to no memory themselves."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from allocsim.trace import BATCH_OPS, Op, Provenance, Trace


@dataclass(frozen=True)
class Looped:
    """A made-up trace repeated until it has `n_ops` operations.

    It must free all its blocks: see `closed`. `synthetic` tells the engine that it is sound.
    """

    trace: Trace
    n_ops: int
    synthetic: bool = True
    n_threads: int = 1
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def n_slots(self) -> int:
        return self.trace.n_slots

    def batches(self, batch_ops: int = BATCH_OPS) -> Iterator[Trace]:
        left = self.n_ops
        while left > 0:
            for batch in self.trace[:left].batches(batch_ops):
                yield batch
                left -= len(batch)


@dataclass(frozen=True)
class Growing:
    """Blocks of one size, never freed: `n_ops` calls of malloc."""

    n_ops: int
    size_bytes: int
    synthetic: bool = True
    n_threads: int = 1
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def n_slots(self) -> int:
        return self.n_ops

    def batches(self, batch_ops: int = BATCH_OPS) -> Iterator[Trace]:
        for start in range(0, self.n_ops, batch_ops):
            slots = np.arange(start, min(start + batch_ops, self.n_ops))
            yield Trace.of(op=Op.MALLOC, object=slots, size=self.size_bytes)


def closed(trace: Trace) -> Trace:
    """`trace`, of malloc and free only, with frees of all that is live at its end."""
    balance = np.zeros(trace.n_slots, np.int64)
    np.add.at(balance, trace.object, np.where(trace.op == Op.FREE, -1, 1))
    return Trace.concatenate([trace, Trace.of(op=Op.FREE, object=np.flatnonzero(balance), size=0)])
