"""Takes the real program and the model to the same op, and shows both heaps there."""

from collections.abc import Mapping
from typing import Unpack

import numpy as np

from allocsim.glibc import Glibc
from allocsim.glibc.chunks import HEADER_BYTES
from allocsim.ground_truth.heaps.model import model_view, shape_of, structures
from allocsim.ground_truth.heaps.real import real_view
from allocsim.ground_truth.heaps.report import report
from allocsim.ground_truth.held import Unreadable, held
from allocsim.ground_truth.start import Surroundings
from allocsim.trace import Op, Trace


def first_ops(trace: Trace, n: int) -> Trace:
    """The first n ops; a mark, which costs nothing, keeps the number of threads."""
    if trace[:n].n_threads == trace.n_threads:
        return trace[:n]
    last = Trace.of(op=Op.MARK, object=-1, size=0, thread=trace.n_threads - 1, arg=-1)
    return Trace.concatenate([trace[:n], last])


def chunks_at(trace: Trace, op: int, *addresses: np.ndarray) -> set[int]:
    """The chunks of the object that an op works on, before and after it.

    addresses: what the ops returned, once for each side.
    """
    if op < 0:
        return set()
    blocks = set()
    for returned in addresses:
        same = (trace.object[:op] == trace.object[op]) & (returned[:op] != 0)
        blocks |= {int(returned[i]) for i in (op, *np.flatnonzero(same)[-1:])}
    return {block - HEADER_BYTES for block in blocks if block}


def both_heaps(
    shown: Trace,
    policy: Glibc,
    focus: set[int],
    tunables: Mapping[str, int],
    **surroundings: Unpack[Surroundings],
) -> tuple[str, ...]:
    """Lines that show the model's heap, and the real one after the same ops, around `focus`.

    policy: the model after the ops of `shown`.
    """
    modelled_heap = model_view(policy, shown.n_threads, focus)
    try:
        with held(shown, tunables, **surroundings) as process:
            caches = structures(policy, shown.n_threads)
            real_heap = real_view(process, shape_of(policy), caches, focus)
    except Unreadable as error:
        return (f"the real heap cannot be shown: {error}",)
    return tuple(report(real_heap, modelled_heap, focus))
