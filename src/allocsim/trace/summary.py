"""What a trace file holds, for people: `allocsim trace info` and `head`."""

import json
import shlex
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from allocsim.errors import printable
from allocsim.trace.columns import Trace
from allocsim.trace.files import TraceFile, open_trace
from allocsim.trace.ops import BATCH_OPS, COLUMNS, OP_LABELS, is_allocation
from allocsim.trace.slots import LIVE, LIVE_PEAK, MAPPED_PEAK
from allocsim.trace.validate import Validator

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


@dataclass
class Summary:
    """Figures over all ops of a trace.

    op_counts: by number of the op. sizes: how often each size is requested by allocations.
    live_peak_bytes, live_end_bytes: requested and not yet freed, at the peak and at the end.
    mapped_peak_bytes: of the program's own mappings, in whole pages. duration_ns: last entry of a
    call. written_bytes: what the program writes right after allocating.
    """

    op_counts: np.ndarray = field(default_factory=lambda: np.zeros(len(OP_LABELS), np.int64))
    sizes: dict[int, int] = field(default_factory=dict)
    live_peak_bytes: int = 0
    live_end_bytes: int = 0
    mapped_peak_bytes: int = 0
    duration_ns: int = 0
    written_bytes: int = 0

    def add(self, trace: Trace) -> None:
        """Count the next ops."""
        self.op_counts += np.bincount(trace.op, minlength=len(OP_LABELS))
        sizes, counts = np.unique(trace.size[is_allocation(trace.op)], return_counts=True)
        for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
            self.sizes[size] = self.sizes.get(size, 0) + count
        self.duration_ns = max(self.duration_ns, int(trace.time_ns.max(initial=0)))
        self.written_bytes += int(trace.written.sum())

    def size_quantiles(self) -> dict[float, int]:
        """For each of `QUANTILES` the smallest size that so many of the requests do not exceed."""
        if not self.sizes:
            return {}
        sizes = np.array(sorted(self.sizes))
        reached = np.cumsum([self.sizes[size] for size in sizes.tolist()])
        ranks = np.ceil(np.array(QUANTILES) * reached[-1]).clip(min=1)
        found = sizes[np.searchsorted(reached, ranks)]
        return dict(zip(QUANTILES, found.tolist(), strict=True))


def summarize(file: TraceFile) -> Summary:
    """Read a trace once; raises InputError if its ops make no sense."""
    validator = Validator(str(file.path), file.n_slots, file.n_threads)
    summary = Summary()
    for batch in file.batches(BATCH_OPS):
        validator.check(batch)
        summary.add(batch)
    totals = validator.slots.totals.tolist()
    summary.live_peak_bytes, summary.live_end_bytes = totals[LIVE_PEAK], totals[LIVE]
    summary.mapped_peak_bytes = totals[MAPPED_PEAK]
    return summary


def info(path: str, check: bool = False) -> str:
    """The text of ``allocsim trace info``; `check` also compares the ops with the content hash."""
    file = open_trace(path)
    summary = summarize(file)
    if check:
        file.verify()
    rows = [*_provenance_rows(file), *_file_rows(file, check), *_summary_rows(file, summary)]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


def plain_info(path: str, check: bool = False) -> dict[str, Any]:
    """The facts of `info` as plain values."""
    file = open_trace(path)
    summary = summarize(file)
    if check:
        file.verify()
    counts = zip(OP_LABELS, summary.op_counts.tolist(), strict=True)
    return {
        "file": str(file.path),
        "file_bytes": file.size_bytes,
        "content_hash": file.content_hash(),
        "verified": check,
        "provenance": asdict(file.provenance),
        "ops": file.n_ops,
        "ops_by_kind": {label: count for label, count in counts if count},
        "threads": file.n_threads,
        "slots": file.n_slots,
        "duration_ns": summary.duration_ns,
        "live_peak_bytes": summary.live_peak_bytes,
        "live_end_bytes": summary.live_end_bytes,
        "mapped_peak_bytes": summary.mapped_peak_bytes,
        "written_bytes": summary.written_bytes,
        "size_quantiles": {str(q): size for q, size in summary.size_quantiles().items()},
    }


def head(path: str, n_ops: int) -> str:
    """The text of ``allocsim trace head``: the first ops as a table, not checked for sense."""
    file = open_trace(path)
    batches = file.batches(min(n_ops, file.n_ops + 1))
    columns = next(batches, Trace.of([], [], [])).columns()
    table = [["row", *COLUMNS]]
    for row, values in enumerate(zip(*(c.tolist() for c in columns.values()), strict=True)):
        label = OP_LABELS[values[0]] if values[0] < len(OP_LABELS) else str(values[0])
        table.append([str(row), label, *map(str, values[1:])])
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True))
        for line in table
    )


def _provenance_rows(file: TraceFile) -> list[tuple[str, str]]:
    origin = file.provenance
    rows = [
        ("program", " ".join(filter(None, [origin.program, shlex.join(origin.arguments)]))),
        ("machine", origin.machine),
        ("C library", origin.c_library),
        ("recorded at", origin.recorded_at),
        ("written is", origin.written_source),
        ("notes", origin.notes),
    ]
    rows += [(name, json.dumps(value)) for name, value in origin.extras.items()]
    return [(printable(name), printable(value)) for name, value in rows if value]


def _file_rows(file: TraceFile, checked: bool) -> list[tuple[str, str]]:
    per_op = f" ({file.size_bytes / file.n_ops:.2f} per op)" if file.n_ops else ""
    return [
        ("content hash", file.content_hash() + (" (verified)" if checked else "")),
        ("file bytes", f"{file.size_bytes:,}{per_op}"),
    ]


def _summary_rows(file: TraceFile, summary: Summary) -> list[tuple[str, str]]:
    quantiles = summary.size_quantiles()
    return [
        ("ops", f"{file.n_ops:,}"),
        *(
            (f"  {label}", f"{count:,}")
            for label, count in zip(OP_LABELS, summary.op_counts.tolist(), strict=True)
            if count
        ),
        ("threads", f"{file.n_threads:,}"),
        ("slots", f"{file.n_slots:,}"),
        ("duration", f"{summary.duration_ns / 1e9:.6f} s" if summary.duration_ns else "unknown"),
        ("peak live bytes", f"{summary.live_peak_bytes:,}"),
        ("live bytes at end", f"{summary.live_end_bytes:,}"),
        ("peak mapped bytes", f"{summary.mapped_peak_bytes:,} (the program's own mappings)"),
        ("written bytes", f"{summary.written_bytes:,}"),
        *((f"size {_name(q)}", f"{size:,}") for q, size in quantiles.items()),
    ]


def _name(quantile: float) -> str:
    return {0.0: "minimum", 0.5: "median", 1.0: "maximum"}.get(quantile, f"{quantile:.0%}")
