"""The second pass over a recording: from addresses to slots, from ticks to nanoseconds."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from allocsim.trace.columns import Trace
from allocsim.trace.ops import Op
from allocsim.trace.provenance import Provenance
from allocsim.trace.recorder_log import Kind
from allocsim.trace.recorder_process import Process
from allocsim.trace.recorder_survey import BIG_BYTES, MappingRow, Survey

_OP_OF_KIND = np.zeros(256, np.uint8)
for _kind, _op in {
    Kind.MALLOC: Op.MALLOC,
    Kind.CALLOC: Op.CALLOC,
    Kind.ALIGNED: Op.ALIGNED_ALLOC,
    Kind.FREE: Op.FREE,
    Kind.REALLOC_END: Op.REALLOC,
}.items():
    _OP_OF_KIND[_kind] = _op

_IS_PART = np.zeros(256, np.bool_)
_IS_PART[[Kind.REALLOC_BEGIN, Kind.MREMAP_BEGIN, Kind.RESIDENT]] = True
"""Kinds that only prepare the event of the same call."""

_NONE = -1
_EXTRA = np.dtype(
    [
        ("event", np.int64),
        ("op", np.uint8),
        ("object", np.int32),
        ("size", np.int64),
        ("offset", np.int64),
        ("arg", np.int64),
        ("resident_bytes", np.int64),
    ]
)
"""Rows that are not made from one event each: of mappings, and of blocks freed unseen."""


@dataclass
class Totals:
    """What the conversion counted.

    unseen_allocations: blocks freed or reallocated whose allocation was not recorded. unseen_frees:
    blocks whose address was handed out again, though nobody was seen to free them.
    explained_peak_bytes: the most that the trace had written at any time.
    """

    unseen_allocations: int = 0
    unseen_frees: int = 0
    explained_peak_bytes: int = 0


class Converter:
    """Turns the events of one process into a trace, batch by batch; memory grows with the live
    blocks and with the number of calls about mappings, not with the length.

    ticks_per_ns: the recorder's clock against real time.
    """

    def __init__(self, process: Process, ticks_per_ns: float) -> None:
        self.totals = Totals()
        self.survey = Survey(process)
        self._process = process
        self._ticks_per_ns = ticks_per_ns
        self._live: dict[int, int] = {}
        self._mapped: dict[int, int] = {}
        self._spare: list[int] = []
        self._n_slots = 0
        self._moving: dict[int, list[tuple[int, int]]] = {}
        self._extra: list[tuple[int, ...]] = []
        self._returned: dict[int, int] = {}
        self._held = np.zeros(0, np.int64)
        self._explained_bytes = 0

    def batches(self) -> Iterator[Trace]:
        """The trace in order; `totals` is complete afterwards."""
        for events in self._process.events():
            batch = self._convert(events[events["kind"] != Kind.THREAD])
            if len(batch):
                yield batch

    def _convert(self, events: np.ndarray) -> Trace:
        self._extra = []
        slots = np.array(self._follow(events), np.int32)
        self.totals.unseen_allocations += int(((slots < 0) & (events["kind"] == Kind.FREE)).sum())
        extra = np.array(self._extra, _EXTRA)
        own = np.flatnonzero(slots >= 0)
        at = np.concatenate((own, extra["event"]))
        # A block freed unseen goes before the event that showed it: its row is marked by ~event.
        place = np.concatenate((2 * own + 1, np.where(at < 0, 2 * ~at, 2 * at + 1)[len(own) :]))
        order = place.argsort(kind="stable")
        return self._assemble(events, slots, own, extra, np.where(at < 0, ~at, at), order)

    def _assemble(
        self,
        events: np.ndarray,
        slots: np.ndarray,
        own: np.ndarray,
        extra: np.ndarray,
        at: np.ndarray,
        order: np.ndarray,
    ) -> Trace:
        """The columns of rows from events (`own`) and of `extra` rows, put into `order`.

        `at` is the event of each row before ordering.
        """
        mine = events[own]
        kind = mine["kind"]
        size = np.where(kind == Kind.FREE, 0, mine["size"])
        written = self._written(mine, size)
        aligned = kind == Kind.ALIGNED
        alignment = np.where(aligned, np.int64(1) << mine["detail"].astype(np.int64), 0)
        zeros = np.zeros(len(extra), np.int64)
        columns = {
            "op": np.concatenate((_OP_OF_KIND[kind], extra["op"])),
            "object": np.concatenate((slots[own], extra["object"])),
            "size": np.concatenate((size, extra["size"])),
            "alignment": np.concatenate((alignment, zeros)),
            "written": np.concatenate((written, zeros)),
            "offset": np.concatenate((np.zeros(len(own), np.int64), extra["offset"])),
            "arg": np.concatenate((np.zeros(len(own), np.int64), extra["arg"])),
        }
        columns = {name: column[order] for name, column in columns.items()}
        mapped = np.concatenate((np.zeros(len(own), np.int64), extra["resident_bytes"]))[order]
        self._explain(columns, mapped)
        columns |= self._times(events, at[order])
        return Trace(**columns, provenance=Provenance())

    def _written(self, events: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Bytes written of each block: all, unless the first pass knows better."""
        written = size.copy()
        for row in np.flatnonzero(size >= BIG_BYTES).tolist():
            known = self.survey.written.get(int(events["order"][row]))
            if known is not None:
                written[row] = known
        return written

    def _times(self, events: np.ndarray, at: np.ndarray) -> dict[str, np.ndarray]:
        """Thread, entry and think time of each row, made from the events `at`."""
        rows = events[at]
        think = self._think(events)[at]
        think[1:][at[1:] == at[:-1]] = 0
        entry = rows["entry"] - self._process.start_ticks
        return {
            "thread": rows["thread"],
            "time_ns": self._nanoseconds(entry),
            "think_ns": self._nanoseconds(think),
        }

    def _nanoseconds(self, ticks: np.ndarray) -> np.ndarray:
        return np.rint(np.maximum(ticks, 0) / self._ticks_per_ns).astype(np.int64)

    def _think(self, events: np.ndarray) -> np.ndarray:
        """Ticks from the thread's previous return to each event's entry."""
        calls = np.flatnonzero(~_IS_PART[events["kind"]])
        think = np.zeros(len(events), np.int64)
        think[calls] = self._think_of_calls(events[calls])
        return think

    def _think_of_calls(self, events: np.ndarray) -> np.ndarray:
        by_thread = events["thread"].argsort(kind="stable")
        thread, entry = events["thread"][by_thread], events["entry"][by_thread]
        returned = entry + events["ticks"][by_thread]
        previous = np.concatenate(([0], returned[:-1]))
        firsts = np.flatnonzero(np.concatenate(([True], thread[1:] != thread[:-1])))[: len(thread)]
        for first in firsts.tolist():
            number = int(thread[first])
            previous[first] = self._returned.get(number, self._process.start_ticks)
        lasts = np.concatenate((firsts[1:] - 1, [len(thread) - 1]))[: len(firsts)]
        self._returned.update(zip(thread[lasts].tolist(), returned[lasts].tolist(), strict=True))
        think = np.empty(len(events), np.int64)
        think[by_thread] = entry - previous[: len(entry)]
        return think

    def _explain(self, columns: dict[str, np.ndarray], mapped: np.ndarray) -> None:
        """Add up what live blocks and mappings have written."""
        change = self._change_of_blocks(columns) + mapped
        running = self._explained_bytes + np.cumsum(change)
        if len(running):
            self._explained_bytes = int(running[-1])
            peak = max(self.totals.explained_peak_bytes, int(running.max()))
            self.totals.explained_peak_bytes = peak

    def _change_of_blocks(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """By how much each row changes the bytes written of live blocks."""
        if self._n_slots > len(self._held):
            self._held = np.pad(self._held, (0, 2 * self._n_slots - len(self._held)))
        slot, written = columns["object"], columns["written"]
        by_slot = slot.argsort(kind="stable")
        first = np.concatenate(([True], slot[by_slot][1:] != slot[by_slot][:-1]))[: len(slot)]
        now = written[by_slot]
        before = np.where(first, self._held[slot[by_slot]], np.concatenate(([0], now))[:-1])
        self._held[slot[by_slot]] = now  # of equal slots, the last counts
        change = np.empty(len(slot), np.int64)
        change[by_slot] = now - before
        return change

    def _follow(self, events: np.ndarray) -> list[int]:
        """The slot of each event, `_NONE` where it makes no row of its own.

        The loop over all events: malloc and free are handled in place, because a call costs more
        than they do.
        """
        live, spare, slots = self._live, self._spare, []
        free, last_allocation = int(Kind.FREE), int(Kind.ALIGNED)
        kinds, addresses = events["kind"].tolist(), events["address"].tolist()
        for index, kind in enumerate(kinds):
            address = addresses[index]
            if kind == free:
                slot = live.pop(address, _NONE)
                if slot >= 0:
                    spare.append(slot)
            elif kind <= last_allocation:
                if address in live:
                    self._free_unseen(index, address)
                slot = live[address] = spare.pop() if spare else self._new_slot()
            else:
                slot = self._follow_other(index, kind, address, events)
            slots.append(slot)
        return slots

    def _follow_other(self, index: int, kind: int, address: int, events: np.ndarray) -> int:
        event = events[index]
        if kind == Kind.REALLOC_BEGIN:
            moving = self._moving.setdefault(int(event["thread"]), [])
            moving.append((address, self._live.pop(address, _NONE)))
        elif kind == Kind.REALLOC_END:
            return self._end_realloc(index, address, event)
        else:
            for row in self.survey.rows.pop(int(event["order"]), ()):
                self._add_mapping_row(index, row)
        return _NONE

    def _end_realloc(self, index: int, address: int, event: np.void) -> int:
        """The slot of a realloc that returned `address`; it was empty if the block is unknown."""
        moving = self._moving.get(int(event["thread"]), [])
        old_address, slot = moving.pop() if event["detail"] and moving else (0, _NONE)
        if not address and event["size"]:  # it failed, and the block stays
            if slot >= 0:
                self._live[old_address] = slot
            return _NONE
        if old_address and slot < 0:
            self.totals.unseen_allocations += 1
        if not address:
            if slot >= 0:
                self._spare.append(slot)
            return slot
        if address in self._live:
            self._free_unseen(index, address)
        if slot < 0:
            slot = self._take_slot()
        elif not event["size"]:  # other allocators keep a small block: here, 0 would free it
            event["size"] = 1
        self._live[address] = slot
        return slot

    def _free_unseen(self, index: int, address: int) -> None:
        """Add the free that was not seen of the block at `address`."""
        self.totals.unseen_frees += 1
        slot = self._live.pop(address)
        self._extra.append((~index, int(Op.FREE), slot, 0, 0, 0, 0))
        self._spare.append(slot)

    def _add_mapping_row(self, index: int, row: MappingRow) -> None:
        if row.op == Op.MMAP:
            self._mapped[row.identity] = self._take_slot()
        slot = self._mapped[row.identity]
        if row.is_last:
            self._spare.append(self._mapped.pop(row.identity))
        values = (int(row.op), slot, row.size, row.offset, row.arg, row.resident_bytes)
        self._extra.append((index, *values))

    def _take_slot(self) -> int:
        return self._spare.pop() if self._spare else self._new_slot()

    def _new_slot(self) -> int:
        self._n_slots += 1
        return self._n_slots - 1
