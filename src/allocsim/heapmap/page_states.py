"""The states of a process's pages: read from the kernel at a moment, and as periods of a run."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from allocsim.driver import Driver
from allocsim.heapmap.address_axis import AddressAxis, merged
from allocsim.kernel import Kernel
from allocsim.kernel.address_space import BLOCK
from allocsim.kernel.backing import LAZY, PAGE_BYTES, PAGE_SHIFT, SWAPPED, WRITTEN, ZERO
from allocsim.policy import Kind


class PageState(IntEnum):
    """What a page is to a map; 0, in arrays, stands for no access."""

    ABSENT = 1
    """Accessible, and never touched, or given back."""
    ZERO = 2
    """The shared page of zeros, mapped by a read."""
    SWAPPED = 3
    LAZY = 4
    """After MADV_FREE: resident until the kernel wants it."""
    RESIDENT = 5


_STATE_OF = np.full(256, PageState.RESIDENT, np.uint8)
_STATE_OF[:SWAPPED] = PageState.ABSENT
_STATE_OF[SWAPPED:ZERO] = PageState.SWAPPED
_STATE_OF[ZERO:LAZY] = PageState.ZERO
_STATE_OF[LAZY:WRITTEN] = PageState.LAZY


@dataclass(frozen=True)
class Moment:
    """Memory after n_ops ops. Page numbers are addresses / 4096.

    page, n_pages, state: runs of accessible pages by `PageState`, ascending. top: (address, bytes)
    of the free memory at the ends of heaps; None where the heap was not walked.
    """

    n_ops: int
    live_bytes: int
    mapped_bytes: int
    resident_bytes: int
    page: np.ndarray
    n_pages: np.ndarray
    state: np.ndarray
    top: np.ndarray | None


def read_moment(driver: Driver, foreign: np.ndarray) -> Moment:
    """Memory now, between two calls. foreign: ranges of addresses that are left out."""
    kernel = driver.policy.kernel
    accessible = _without(accessible_ranges(kernel), foreign)
    page, n_pages, state = _runs(kernel, accessible)
    return Moment(
        n_ops=driver.n_ops,
        live_bytes=driver.live_bytes,
        mapped_bytes=kernel.mapped_bytes,
        resident_bytes=kernel.resident_pages * PAGE_BYTES,
        page=page,
        n_pages=n_pages,
        state=state,
        top=_top(driver, accessible) if driver.n_walked else None,
    )


def accessible_ranges(kernel: Kernel) -> np.ndarray:
    """Rows (lo, hi): the addresses of private anonymous areas with any rights, adjoining merged."""
    areas = kernel.areas
    order = np.frombuffer(areas.order, np.int64, areas.n_blocks)
    used = np.frombuffer(areas.used, np.int64, areas.n_made)[order]
    first = np.repeat(order * BLOCK - np.cumsum(used) + used, used)
    slots = first + np.arange(len(first))
    lo, hi, attributes = (
        np.frombuffer(column, np.int64, areas.n_made * BLOCK)[slots]
        for column in (areas.lo, areas.hi, areas.attributes)
    )
    shown = (attributes > 0) & (attributes < 8)
    return np.stack(merged(lo[shown], hi[shown], 0), axis=1)


def _without(ranges: np.ndarray, foreign: np.ndarray) -> np.ndarray:
    """The parts of ascending `ranges` that lie in none of the ascending `foreign`."""
    if not len(foreign) or not len(ranges):
        return ranges
    edges = np.unique(np.concatenate([ranges.ravel(), foreign.ravel()]))
    lo, hi = edges[:-1], edges[1:]
    kept = _inside(lo, ranges) & ~_inside(lo, foreign)
    return np.stack(merged(lo[kept], hi[kept], 0), axis=1)


def _inside(address: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    at = np.searchsorted(ranges[:, 0], address, side="right") - 1
    return (at >= 0) & (address < ranges[np.maximum(at, 0), 1])


def _runs(kernel: Kernel, ranges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First page, pages and `PageState` of each run of equal pages."""
    host = np.frombuffer(kernel.state, np.uint8)
    pages, states = [], []
    for lo, hi in ranges.tolist():
        at = kernel.locate(lo)
        if at < 0:
            continue
        found = _STATE_OF[host[at >> PAGE_SHIFT : (at + hi - lo) >> PAGE_SHIFT]]
        starts = np.flatnonzero(np.diff(found, prepend=0))
        pages.append((lo >> PAGE_SHIFT) + np.append(starts, len(found)))
        states.append(np.append(found[starts], 0))
    if not pages:
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing.astype(np.uint8)
    page, state = np.concatenate(pages), np.concatenate(states)
    kept = np.flatnonzero(state)
    return page[kept], page[kept + 1] - page[kept], state[kept]


def _top(driver: Driver, accessible: np.ndarray) -> np.ndarray:
    """Free memory that the walk just made reported at the end of an accessible range."""
    ranges = driver.policy.ranges
    address, size = (
        np.frombuffer(column, np.int64, ranges.n) for column in (ranges.address, ranges.size_bytes)
    )
    kind = np.frombuffer(ranges.kind, np.uint8, ranges.n)
    ends = (address + size + PAGE_BYTES - 1) & -PAGE_BYTES
    is_top = (kind == Kind.TOP) | ((kind == Kind.FREE) & np.isin(ends, accessible[:, 1]))
    return np.stack([address[is_top], size[is_top]], axis=1)


@dataclass(frozen=True)
class PagePeriods:
    """Runs of pages that kept their state from moment `first` up to, not including, `last`.

    page: the first one's place on the axis, in pages. first, last: numbers of moments.
    """

    page: np.ndarray
    n_pages: np.ndarray
    state: np.ndarray
    first: np.ndarray
    last: np.ndarray


def page_periods(moments: list[Moment], axis: AddressAxis) -> PagePeriods:
    """What all moments together say of each page."""
    state = np.zeros(axis.n_pages, np.uint8)
    since = np.zeros(axis.n_pages, np.int64)
    rows: list[np.ndarray] = []
    for number, moment in enumerate([*moments, None]):
        now = np.zeros(axis.n_pages, np.uint8)
        if moment is not None:
            first = axis.place(moment.page << PAGE_SHIFT) >> PAGE_SHIFT
            _paint(now, first, moment.n_pages, moment.state)
        changed = np.flatnonzero(now != state)
        rows.append(_ended(changed, state[changed], since[changed], number))
        since[changed] = number
        state = now
    columns = np.concatenate(rows).T
    return PagePeriods(*(np.ascontiguousarray(column) for column in columns))


def _paint(now: np.ndarray, first: np.ndarray, n_pages: np.ndarray, state: np.ndarray) -> None:
    step = np.zeros(len(now) + 1, np.int64)
    np.add.at(step, first, state)
    np.add.at(step, first + n_pages, -state.astype(np.int64))
    now[:] = np.cumsum(step[:-1])


def _ended(page: np.ndarray, state: np.ndarray, since: np.ndarray, now: int) -> np.ndarray:
    """Rows of `PagePeriods` for pages whose state has just changed; neighbours together."""
    kept = state > 0
    page, state, since = page[kept], state[kept].astype(np.int64), since[kept]
    starts = np.ones(len(page), bool)
    starts[1:] = (np.diff(page) != 1) | (np.diff(state) != 0) | (np.diff(since) != 0)
    at = np.flatnonzero(starts)
    n_pages = np.diff(np.append(at, len(page)))
    return np.stack([page[at], n_pages, state[at], since[at], np.full(len(at), now)], axis=1)
