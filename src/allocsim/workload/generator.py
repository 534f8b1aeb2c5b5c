"""The compiled loop behind synthetic workloads: uniform random numbers in, ops out."""

import math

import numpy as np
from numba import njit

from allocsim.numba_cache import njit_cached
from allocsim.trace import Op
from allocsim.workload.spec import SLACK
from allocsim.workload.state import FREE_ORDERS, SHAPES, Columns, Heap, Rules

PURPOSES = ("decision", "thread", "victim", "kind", "size", "freer", "think", "place")
"""One stream of random numbers each, so that changing one decision leaves the others alone."""

_DECISION, _THREAD, _VICTIM, _KIND, _SIZE, _FREER, _THINK, _PLACE = range(len(PURPOSES))
_RANDOM, _LIFO, _FIFO, _RECENT = range(len(FREE_ORDERS))
_NONE, _SINE, _SQUARE, _SAWTOOTH, _TRAPEZOID = range(len(SHAPES))
_MALLOC, _CALLOC, _REALLOC = int(Op.MALLOC), int(Op.CALLOC), int(Op.REALLOC)
_ALIGNED_ALLOC, _FREE, _TOUCH = int(Op.ALIGNED_ALLOC), int(Op.FREE), int(Op.TOUCH)
_READ, _MARK = int(Op.READ), int(Op.MARK)


@njit_cached
def fill(
    rules: Rules,
    heap: Heap,
    start: int,
    uniform: np.ndarray,
    sizes: np.ndarray,
    out: Columns,
) -> None:
    """Makes the ops `start`, `start` + 1 ... of a workload, as many as there are `sizes`.

    uniform: numbers in [0, 1), a row per purpose, a column per op. sizes: bytes, should the op
    need some. heap: the state after the ops before, changed in place. out: filled.
    """
    for i in range(len(sizes)):
        draw = uniform[:, i]
        thread = int(draw[_THREAD] * len(heap.held))
        out.thread[i] = thread
        if rules.think_ns:
            out.think_ns[i] = int(-math.log(1 - draw[_THINK]) * rules.think_ns)
        surplus = rules.ops - start - i - heap.total[0]
        if rules.free_at_end and surplus <= 1:
            if surplus == 1:
                out.op[i], out.object[i] = _MARK, -1
            else:
                _free(rules, heap, _holder(heap, thread), draw, out, i)
        else:
            _call(rules, heap, thread, start + i, draw, sizes[i], out, i)


@njit(inline="always")
def _call(
    rules: Rules,
    heap: Heap,
    thread: int,
    number: int,
    draw: np.ndarray,
    size: int,
    out: Columns,
    i: int,
) -> None:
    """Decides between resizing, writing, reading, allocating and freeing."""
    touch = rules.realloc + rules.touch
    busy = touch + rules.read
    decision, count = draw[_DECISION], heap.held[thread]
    if count > 0 and decision < rules.realloc:
        _resize(rules, heap, thread, draw, size, out, i)
    elif count > 0 and decision < busy:
        _access(rules, heap, thread, draw, out, i, _TOUCH if decision < touch else _READ)
    elif _wants_more(rules, number, count, (decision - busy) / (1 - busy)):
        _allocate(rules, heap, thread, draw, size, out, i)
    else:
        _free(rules, heap, thread, draw, out, i)


@njit(inline="always")
def _wave(shape: int, position: float) -> float:
    """Between -1 and 1, for a position in the period between 0 and 1."""
    if shape == _SINE:
        return math.sin(2 * math.pi * position)
    if shape == _SQUARE:
        return 1.0 if position < 0.5 else -1.0
    if shape == _SAWTOOTH:
        return 2 * position - 1
    if shape == _TRAPEZOID:
        return max(-1.0, min(1.0, 2 - 8 * abs(position - 0.375)))
    return 0.0


@njit(inline="always")
def _wants_more(rules: Rules, number: int, count: int, decision: float) -> bool:
    """Whether the next op allocates: likelier the further the live objects are below the target."""
    target = rules.live_objects
    if rules.shape != _NONE:
        position = (number % rules.period_ops) / rules.period_ops
        target *= 1 + rules.amplitude * _wave(rules.shape, position)
    low, high = target * (1 - SLACK), target * (1 + SLACK)
    if count <= low or count == 0:
        return True
    return count < high and decision * (high - low) < high - count


@njit(inline="always")
def _pick(rules: Rules, count: int, uniform: float) -> int:
    """Which of a thread's objects, counted from the oldest, the next free takes."""
    if rules.free_order == _LIFO:
        return count - 1
    if rules.free_order == _FIFO:
        return 0
    if rules.free_order == _RECENT:
        back = int(-math.log(1 - uniform) * rules.recent_objects)
        return max(0, count - 1 - back)
    return int(uniform * count)


@njit(inline="always")
def _allocate(
    rules: Rules, heap: Heap, thread: int, draw: np.ndarray, size: int, out: Columns, i: int
) -> None:
    slot = _free_slot(heap, thread)
    ring = heap.ring[thread]
    ring[_place(ring, heap.first[thread] + heap.held[thread])] = slot
    heap.held[thread] += 1
    heap.total[0] += 1
    heap.size[slot] = size
    out.op[i] = _MALLOC
    if draw[_KIND] < rules.calloc:
        out.op[i] = _CALLOC
    elif draw[_KIND] < rules.calloc + rules.aligned_alloc:
        out.op[i], out.alignment[i] = _ALIGNED_ALLOC, rules.alignment
    out.object[i], out.size[i] = slot, size
    out.written[i] = math.ceil(size * rules.written)


@njit(inline="always")
def _resize(
    rules: Rules, heap: Heap, thread: int, draw: np.ndarray, size: int, out: Columns, i: int
) -> None:
    slot = _any_object(heap, thread, draw)
    grown = int(heap.size[slot] * rules.realloc_growth)
    if 0 < grown <= rules.largest:
        size = grown
    heap.size[slot] = size
    out.op[i], out.object[i], out.size[i] = _REALLOC, slot, size
    out.written[i] = math.ceil(size * rules.written)


@njit(inline="always")
def _access(
    rules: Rules, heap: Heap, thread: int, draw: np.ndarray, out: Columns, i: int, op: int
) -> None:
    slot = _any_object(heap, thread, draw)
    out.op[i], out.object[i] = op, slot
    out.offset[i] = int(draw[_PLACE] * heap.size[slot])
    out.size[i] = min(rules.access_bytes, heap.size[slot] - out.offset[i])


@njit(inline="always")
def _free(rules: Rules, heap: Heap, thread: int, draw: np.ndarray, out: Columns, i: int) -> None:
    """Frees an object of `thread`, now and then on another thread."""
    index = _pick(rules, heap.held[thread], draw[_VICTIM])
    others = len(heap.held) - 1
    out.op[i], out.object[i], out.thread[i] = _FREE, _take_out(heap, rules, thread, index), thread
    if others and draw[_FREER] < rules.cross_thread_frees:
        out.thread[i] = (thread + 1 + int(draw[_PLACE] * others)) % (others + 1)


@njit(inline="always")
def _any_object(heap: Heap, thread: int, draw: np.ndarray) -> int:
    ring = heap.ring[thread]
    return ring[_place(ring, heap.first[thread] + int(draw[_VICTIM] * heap.held[thread]))]


@njit(inline="always")
def _place(ring: np.ndarray, position: int) -> int:
    """Where in a ring a position below twice its length lies; a division would cost more."""
    return position - len(ring) if position >= len(ring) else position


@njit(inline="always")
def _holder(heap: Heap, thread: int) -> int:
    """That thread if it holds an object, else the next one that does."""
    while heap.held[thread] == 0:
        thread = (thread + 1) % len(heap.held)
    return thread


@njit(inline="always")
def _take_out(heap: Heap, rules: Rules, thread: int, index: int) -> int:
    """Removes an object from its ring; all orders but `random` keep the others' age."""
    ring, first, last = heap.ring[thread], heap.first[thread], heap.held[thread] - 1
    slot = ring[_place(ring, first + index)]
    if index == 0:
        heap.first[thread] = _place(ring, first + 1)
    elif rules.free_order == _RANDOM:
        ring[_place(ring, first + index)] = ring[_place(ring, first + last)]
    else:
        for i in range(index, last):
            ring[_place(ring, first + i)] = ring[_place(ring, first + i + 1)]
    heap.held[thread] = last
    heap.total[0] -= 1
    _give_back(heap, thread, slot)
    return slot


@njit(inline="always")
def _free_slot(heap: Heap, thread: int) -> int:
    """The next slot from a thread's pool."""
    slot = heap.free[thread, heap.next_free[thread]]
    heap.next_free[thread] = _place(heap.free[thread], heap.next_free[thread] + 1)
    heap.unused[thread] -= 1
    return slot


@njit(inline="always")
def _give_back(heap: Heap, thread: int, slot: int) -> None:
    """Return a slot to its thread's pool: to be used next, or last where there are others.

    An operation waits for those before it on its object, so a slot that another thread has yet to
    free should rest as long as can be.
    """
    free = heap.free[thread]
    if len(heap.held) == 1:
        heap.next_free[thread] = _place(free, heap.next_free[thread] + len(free) - 1)
        free[heap.next_free[thread]] = slot
    else:
        free[_place(free, heap.next_free[thread] + heap.unused[thread])] = slot
    heap.unused[thread] += 1
