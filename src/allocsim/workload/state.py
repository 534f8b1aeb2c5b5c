"""What the generator of synthetic workloads works on: rules, live objects and columns of ops."""

from typing import NamedTuple

import numpy as np

from allocsim.trace import COLUMNS
from allocsim.workload.spec import Synthetic

FREE_ORDERS = ("random", "lifo", "fifo", "recent")
SHAPES = ("none", "sine", "square", "sawtooth", "trapezoid")


class Rules(NamedTuple):
    """A `Synthetic` as numbers."""

    ops: int
    live_objects: float
    free_order: int
    recent_objects: float
    cross_thread_frees: float
    free_at_end: bool
    think_ns: float
    shape: int
    amplitude: float
    period_ops: int
    calloc: float
    aligned_alloc: float
    alignment: int
    realloc: float
    realloc_growth: float
    largest: int
    written: float
    touch: float
    read: float
    access_bytes: int


class Heap(NamedTuple):
    """Who holds what: per thread a ring of the slots it holds, and a ring of its free slots.

    first, held: where a thread's ring of held slots starts, and how many there are; next_free and
    unused: the same of its free slots. size: in bytes, of each slot's object. total: objects held.
    """

    ring: np.ndarray
    first: np.ndarray
    held: np.ndarray
    size: np.ndarray
    free: np.ndarray
    next_free: np.ndarray
    unused: np.ndarray
    total: np.ndarray


class Columns(NamedTuple):
    """The columns of the block of ops being made; those not named here are all zero."""

    op: np.ndarray
    thread: np.ndarray
    object: np.ndarray
    size: np.ndarray
    alignment: np.ndarray
    written: np.ndarray
    offset: np.ndarray
    think_ns: np.ndarray


def rules_of(spec: Synthetic) -> Rules:
    """The numbers of a specification."""
    return Rules(
        ops=spec.ops,
        live_objects=float(spec.live_objects),
        free_order=FREE_ORDERS.index(spec.free_order),
        recent_objects=spec.recent_objects,
        cross_thread_frees=spec.cross_thread_frees,
        free_at_end=spec.free_at_end,
        think_ns=spec.think_ns,
        shape=SHAPES.index(spec.phases.shape),
        amplitude=spec.phases.amplitude,
        period_ops=spec.phases.period_ops,
        calloc=spec.calls.calloc,
        aligned_alloc=spec.calls.aligned_alloc,
        alignment=spec.calls.alignment,
        realloc=spec.calls.realloc,
        realloc_growth=spec.calls.realloc_growth,
        largest=spec.sizes.largest,
        written=spec.accesses.written,
        touch=spec.accesses.touch,
        read=spec.accesses.read,
        access_bytes=spec.accesses.bytes,
    )


def empty_heap(threads: int, slots_per_thread: int, pool: int) -> Heap:
    """Nobody holds anything, and each thread has a `pool` of slots; lower ones come first."""
    slots = np.arange(threads * pool, dtype=np.int32).reshape(threads, pool)
    return Heap(
        ring=np.zeros((threads, slots_per_thread), np.int32),
        first=np.zeros(threads, np.int64),
        held=np.zeros(threads, np.int64),
        size=np.zeros(threads * pool, np.int64),
        free=slots,
        next_free=np.zeros(threads, np.int64),
        unused=np.full(threads, pool, np.int64),
        total=np.zeros(1, np.int64),
    )


def empty_columns(n_ops: int) -> Columns:
    """Columns for `n_ops` ops, all zero."""
    return Columns(*(np.zeros(n_ops, COLUMNS[name]) for name in Columns._fields))
