"""One run's map as data for the page: numbers that say what it is, and packed columns."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from allocsim.heapmap.address_axis import AddressAxis
from allocsim.heapmap.blocks import Blocks
from allocsim.heapmap.exact_blocks import PROBED, choose_blocks, largest_rows
from allocsim.heapmap.packing import Packed, block_columns
from allocsim.heapmap.page_states import Moment, page_periods
from allocsim.heapmap.recording import Recording
from allocsim.heapmap.syscalls import syscall_marks
from allocsim.heapmap.tiles import CLASS_TOPS, Tiles
from allocsim.kernel.backing import PAGE_SHIFT


@dataclass(frozen=True)
class HeapMap:
    """facts: what the page reads first, as JSON. data: packed, as facts["directory"] says."""

    facts: dict[str, Any]
    data: bytes


def heap_map(recording: Recording, name: str, budget_bytes: int) -> HeapMap:
    """The map of a run. name: its policy's. budget_bytes: for exact blocks."""
    blocks, n_ops = recording.blocks, recording.n_ops
    marks = syscall_marks(recording.calls)
    axis = _axis(recording)
    tiles = Tiles(axis, n_ops)
    live = blocks.live_bytes(n_ops)
    peak_op = int(live.argmax()) if n_ops else 0
    packed = Packed()
    n_threads = int(blocks.thread.max(initial=0)) + 1
    for plane, values in tiles.block_planes(blocks, n_threads).items():
        packed.add_plane(plane, values)
    periods = page_periods(recording.moments, axis)
    for plane, values in tiles.page_planes(periods, recording.moments).items():
        packed.add_plane(plane, values)
    for column, values in vars(periods).items():
        packed.add_column(f"period_{column}", values)
    exact = choose_blocks(blocks, n_ops, peak_op, budget_bytes, _bytes_each(blocks, axis))
    held = blocks[exact.rows]
    for column, values in block_columns(held, axis.place(held.address)).items():
        packed.add_column(f"block_{column}", values)
    _add_moments(packed, recording.moments)
    _add_top(packed, recording.moments, axis)
    for column, values in marks.columns(axis).items():
        packed.add_column(f"call_{column}", values)
    packed.add_column("faults", _by_column(recording.faults, tiles))
    data, directory = packed.deflated()
    facts = {
        "policy": name,
        "n_ops": n_ops,
        "n_threads": n_threads,
        "n_blocks": len(blocks),
        "exact": list(exact.window),
        "rows": axis.n_rows,
        "columns": tiles.columns,
        "row_bytes": axis.row_bytes,
        "segments": _segments(axis, recording.start_brk),
        "class_tops": CLASS_TOPS.tolist(),
        "peak_op": peak_op,
        "calls_left_out": marks.left_out,
        "directory": directory,
    }
    return HeapMap(facts, data)


def _axis(recording: Recording) -> AddressAxis:
    """Of all that was ever a block or accessible."""
    blocks = recording.blocks
    end = blocks.address + np.maximum(blocks.size_bytes, 1)
    ranges = [(blocks.address, end)]
    for moment in recording.moments:
        lo = moment.page << PAGE_SHIFT
        ranges.append((lo, lo + (moment.n_pages << PAGE_SHIFT)))
    if not any(len(lo) for lo, _ in ranges):
        nowhere = np.array([recording.start_brk])
        ranges = [(nowhere, nowhere + 1)]
    return AddressAxis.of(ranges)


def _segments(axis: AddressAxis, start_brk: int) -> list[dict[str, Any]]:
    heap = start_brk & -4096
    return [
        {"name": "heap (brk)" if lo <= heap < hi else "mappings", "lo": lo, "hi": hi, "base": base}
        for lo, hi, base in zip(*(c.tolist() for c in (axis.lo, axis.hi, axis.base)), strict=True)
    ]


def _bytes_each(blocks: Blocks, axis: AddressAxis) -> float:
    """About how many bytes a block takes when it is packed, from some of the largest."""
    some = blocks[largest_rows(blocks, PROBED)]
    packed = Packed()
    for column, values in block_columns(some, axis.place(some.address)).items():
        packed.add_column(column, values)
    return max(1.0, len(packed.deflated()[0]) / max(1, len(some)))


def _add_moments(packed: Packed, moments: list[Moment]) -> None:
    for name in ("n_ops", "live_bytes", "mapped_bytes", "resident_bytes"):
        packed.add_column(f"moment_{name}", np.array([getattr(m, name) for m in moments]))


def _add_top(packed: Packed, moments: list[Moment], axis: AddressAxis) -> None:
    """Where each top was: place, bytes, and the first and the last moment that say so."""
    walked = [number for number, moment in enumerate(moments) if moment.top is not None]
    following = [*walked[1:], len(moments)] if walked else []
    rows = []
    for first, last in zip(walked, following, strict=True):
        top = moments[first].top
        assert top is not None
        n = len(top)
        rows.append(
            np.stack([axis.place(top[:, 0]), top[:, 1], np.full(n, first), np.full(n, last)])
        )
    columns = np.concatenate(rows, axis=1) if rows else np.zeros((4, 0), np.int64)
    for name, values in zip(("place", "size", "first", "last"), columns, strict=True):
        packed.add_column(f"top_{name}", values)


def _by_column(faults: np.ndarray, tiles: Tiles) -> np.ndarray:
    """Minor faults in each column of tiles."""
    column = np.arange(len(faults)) / tiles.ops_per_column
    return np.bincount(column.astype(np.int64), weights=faults, minlength=tiles.columns)
