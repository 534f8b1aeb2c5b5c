"""Draws an address-space layout as text, the highest address on top as in most textbooks."""

from dataclasses import dataclass
from itertools import pairwise

from allocsim.kernel.layout import Layout

KERNEL_START = {32: 0xC000_0000, 64: 0xFFFF_8000_0000_0000}
ADDRESSES = {32: 1 << 32, 64: 1 << 64}


@dataclass(frozen=True)
class Band:
    """One part of the address space, [lo, hi) in bytes; `note` says what happens there."""

    lo: int
    hi: int
    name: str
    note: str = ""


def draw(layout: Layout) -> str:
    """The layout as aligned lines: start address, size, name and note of every part."""
    bands = sorted(_bands(layout), key=lambda band: band.lo, reverse=True)
    digits = layout.bits // 4
    sizes = [_size(band.hi - band.lo) for band in bands]
    wide, name_wide = max(map(len, sizes)), max(len(band.name) for band in bands)
    title = (
        f"{layout.bits}-bit address space, {'top-down' if layout.top_down else 'legacy'} mappings"
    )
    rows = [
        f"0x{band.lo:0{digits}x}  {size:>{wide}}  {band.name:{name_wide}}  {band.note}".rstrip()
        for band, size in zip(bands, sizes, strict=True)
    ]
    return "\n".join([title, f"{'start':{digits + 2}}  {'size':>{wide}}  part", *rows])


def _bands(layout: Layout) -> list[Band]:
    """All parts, those between the segments included: they cover the whole address space."""
    bands = [
        Band(0, layout.reserved_end, "reserved", "no access: catches null pointers"),
        *(Band(area.lo, area.hi, area.name) for area in layout.areas),
        *_beyond_user_space(layout),
    ]
    covered = sorted(bands, key=lambda band: band.lo)
    for below, above in pairwise(covered):
        if below.hi < above.lo:
            bands += _between(layout, below.hi, above.lo)
    return bands


def _beyond_user_space(layout: Layout) -> list[Band]:
    start = KERNEL_START[layout.bits]
    kernel = Band(start, ADDRESSES[layout.bits], "kernel", "no access from user mode")
    if layout.task_size >= start:
        return [kernel]
    user_end = 1 << 47
    return [
        kernel,
        Band(user_end, start, "undefined", "not canonical: no address at all"),
        Band(layout.task_size, user_end, "guard page", "no access"),
    ]


def _between(layout: Layout, lo: int, hi: int) -> list[Band]:
    """What may become of the free addresses [lo, hi): heap, mapping area, stack."""
    cuts = {lo, hi}
    cuts |= {at for at in (layout.start_brk, layout.mmap_base, _stack_end(layout)) if lo < at < hi}
    return [Band(low, high, *_role(layout, low)) for low, high in pairwise(sorted(cuts))]


def _role(layout: Layout, lo: int) -> tuple[str, str]:
    if lo >= _stack_end(layout) and any(area.name == "stack" for area in layout.areas):
        limit = _size(layout.stack_limit_bytes)
        return "stack's room", f"the stack grows down ↓, at most {limit}"
    if lo == layout.start_brk:
        if layout.top_down:
            return "heap, mapping area", "heap grows up ↑ by brk, mappings grow down ↓ by mmap"
        return "heap", "grows up ↑ by brk"
    if not layout.top_down and lo >= layout.mmap_base:
        return "mapping area", "grows up ↑ by mmap"
    return "free", ""


def _stack_end(layout: Layout) -> int:
    """The lowest address that the stack may reach."""
    return layout.task_size - layout.stack_limit_bytes


def _size(n_bytes: int) -> str:
    """Bytes in the largest unit that divides them well enough: `128 TiB`, `132 KiB`, `7.8 MiB`."""
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    power = min(max(n_bytes.bit_length() - 1, 0) // 10, len(units) - 1)
    return f"{n_bytes / 1024**power:.4g} {units[power]}"
