"""What a replay on the real C library reports, read from the files that the replayer leaves."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

PAGE_BYTES = 4096
FAR_ADDRESS = 0x1000_0000_0000
"""Start of the one mapping that is the replayer's own (far_memory.h)."""

SYSCALL_NAMES = {9: "mmap", 10: "mprotect", 11: "munmap", 12: "brk", 25: "mremap", 28: "madvise"}

_SYSCALL_RECORD = np.dtype(
    [
        ("op", "<i8"),
        ("thread", "<i4"),
        ("number", "<i4"),
        ("arguments", "<u8", 6),
        ("result", "<i8"),
    ]
)


@dataclass(frozen=True, eq=False)
class Syscalls:
    """The allocator's system calls in order, as columns of equal length.

    op: the op that made the call, -1 before the first op (creating threads). thread: the calling
    one, -1 for a main thread that runs no op. name: brk, mmap, munmap, mremap, mprotect or
    madvise. arguments: six columns wide, zero-extended from the width that C gives them (mmap's
    descriptor -1 is 0xffffffff), 0 where the call takes fewer. result: an address or size, or
    -errno. The C library's question for the present break, brk(0), is left out.
    """

    op: np.ndarray
    thread: np.ndarray
    name: np.ndarray
    arguments: np.ndarray
    result: np.ndarray

    def __len__(self) -> int:
        return len(self.op)

    def table(self) -> pa.Table:
        """Columns op, name, arg0 … arg5, result."""
        columns = {"op": self.op, "name": self.name}
        columns |= {f"arg{i}": self.arguments[:, i] for i in range(6)}
        return pa.table(columns | {"result": self.result})


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What the real allocator did, op by op.

    address: what each op returned, 0 where it returns none. minor_faults: those of the call and of
    what the program wrote, touched or read in the same op. syscalls: None if not asked for.

    heap_resident_pages, resident_pages: at the end, in the brk heap and in all the program's
    mappings, as the kernel counts RSS (a page of zeros that was only read does not count).
    start_resident_pages: in all, just before the first op. The replayer's own memory is left out.
    start_maps, end_maps: in the format of /proc/PID/maps, the replayer's own mapping included.
    start_brk, end_brk: the break before the first and after the last op.
    mallinfo2: at the end; empty for a library without it. cpus: that the program could run on.
    libc: its version. malloc_file: of the program or library whose malloc is called. samples: rows
    of ops done and of all resident pages then, the first before any op; the replayer's own pages
    are included, so differences count. None unless asked for.
    """

    address: np.ndarray
    minor_faults: np.ndarray
    syscalls: Syscalls | None
    heap_resident_pages: int
    resident_pages: int
    start_resident_pages: int
    start_maps: str
    end_maps: str
    start_brk: int
    end_brk: int
    mallinfo2: dict[str, int]
    cpus: int
    libc: str
    malloc_file: str
    samples: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))

    def __len__(self) -> int:
        return len(self.address)

    def table(self) -> pa.Table:
        """Columns op, address, minor_faults."""
        op = np.arange(len(self), dtype=np.int64)
        address, faults = self.address.astype(np.int64), self.minor_faults.astype(np.int64)
        return pa.table({"op": op, "address": address, "minor_faults": faults})


@dataclass(frozen=True)
class _Smaps:
    """A process's mappings: their lines, and resident pages in the heap and in all."""

    maps: str
    heap_pages: int
    pages: int


def read_ground_truth(folder: Path) -> GroundTruth:
    """The results that the replayer left in `folder`, which may be removed afterwards."""
    summary = read_summary(folder)
    start, end = _read_smaps(folder / "start.smaps"), _read_smaps(folder / "end.smaps")
    return GroundTruth(
        address=_column(folder / "addresses", np.dtype("<u8")),
        minor_faults=_column(folder / "faults", np.dtype("<u4")),
        syscalls=_read_syscalls(folder / "syscalls"),
        heap_resident_pages=end.heap_pages,
        resident_pages=end.pages,
        start_resident_pages=start.pages,
        start_maps=start.maps,
        end_maps=end.maps,
        start_brk=int(summary["start_brk"]),
        end_brk=int(summary["end_brk"]),
        mallinfo2=_named(summary, "mallinfo2."),
        cpus=int(summary["cpus"]),
        libc=summary["libc"],
        malloc_file=_file_at(int(summary["malloc"]), end.maps),
        samples=_read_samples(folder / "samples"),
    )


def _file_at(address: int, maps: str) -> str:
    """The file that is mapped at an address, or ""."""
    for line in maps.splitlines():
        addresses, _, _, _, _, *name = line.split(maxsplit=5)
        low, high = (int(text, 16) for text in addresses.split("-"))
        if low <= address < high:
            return name[0] if name else ""
    return ""


def read_summary(folder: Path) -> dict[str, str]:
    """The single values, by name."""
    lines = (folder / "summary").read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines)


def _named(summary: dict[str, str], prefix: str) -> dict[str, int]:
    return {k.removeprefix(prefix): int(v) for k, v in summary.items() if k.startswith(prefix)}


def _column(path: Path, dtype: np.dtype) -> np.ndarray:
    """A file as an array: mapped, not read, so that long traces do not fill memory."""
    if path.stat().st_size == 0:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="r")


def _read_syscalls(path: Path) -> Syscalls | None:
    if not path.exists():
        return None
    records = np.fromfile(path, _SYSCALL_RECORD)
    names = np.array([SYSCALL_NAMES.get(n, "") for n in range(max(SYSCALL_NAMES) + 1)])
    name = names[records["number"]]
    kept = ~((name == "brk") & (records["arguments"][:, 0] == 0))
    records, name = records[kept], name[kept]
    return Syscalls(
        records["op"].copy(),
        records["thread"].copy(),
        name,
        records["arguments"].copy(),
        records["result"].copy(),
    )


def _read_samples(path: Path) -> np.ndarray:
    rows = np.fromfile(path, np.int64) if path.exists() else np.empty(0, np.int64)
    return rows.reshape(-1, 2) // (1, PAGE_BYTES // 1024)


def _read_smaps(path: Path) -> _Smaps:
    heap = total = 0
    headers = []
    with path.open() as lines:
        for header, resident in _mappings(lines):
            headers.append(header)
            heap += resident if header.endswith("[heap]\n") else 0
            total += resident if int(header.partition("-")[0], 16) != FAR_ADDRESS else 0
    return _Smaps("".join(headers), heap, total)


def _mappings(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Each mapping's line, as in /proc/PID/maps, and its resident pages."""
    header = ""
    for line in lines:
        word = line.split(" ", 1)[0]
        if word == "Rss:":
            yield header, int(line.split()[1]) * 1024 // PAGE_BYTES
        elif not word.endswith(":"):
            header = line
