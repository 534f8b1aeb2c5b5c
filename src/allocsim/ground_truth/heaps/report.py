"""Two heaps side by side as lines of text, what differs marked."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from allocsim.ground_truth.heaps.view import FENCE, USED, Chunk, HeapView

AROUND = 4
"""Chunks shown before and after one of interest."""
MOST_LISTS = 24
MEMBERS = 3
MARK, NO_MARK, ABSENT = "≠ ", "  ", "-"

Row = tuple[bool, str, str, str]  # whether the sides differ, what it is, real, model


def report(real: HeapView, model: HeapView, focus: Iterable[int]) -> list[str]:
    """Chunks around the addresses in `focus` and around the first that differs, then the lists.

    The addresses are those of blocks or chunks, in whatever heap.
    """
    wanted = sorted(set(focus))
    sections = [
        (f"chunks of the heap at {heap:#x}", _chunk_rows(real, model, heap, wanted))
        for heap in sorted(real.heaps.keys() | model.heaps.keys())
    ]
    sections.append(("chunks with a mapping of their own", _mapped_rows(real, model)))
    sections.append(("lists of free chunks: first members and number", _list_rows(real, model)))
    lines = [line for title, rows in sections if rows for line in _table(title, rows)]
    return [*lines, *real.notes, *model.notes]


# ---- chunks


def _chunk_rows(real: HeapView, model: HeapView, heap: int, focus: Sequence[int]) -> list[Row]:
    sides = [_noted(view, heap) for view in (real, model)]
    addresses = sorted(sides[0].keys() | sides[1].keys())
    differs = [sides[0].get(a) != sides[1].get(a) for a in addresses]
    centres = {_place(addresses, at) for at in focus if _covers(sides, at)}
    if True in differs:
        centres.add(differs.index(True))
    shown = sorted({i for c in centres for i in range(c - AROUND, c + AROUND + 1)})
    rows: list[Row] = []
    before = None
    for i in (i for i in shown if 0 <= i < len(addresses)):
        if before is not None and i != before + 1:
            rows.append((False, "…", "", ""))
        one, other = (_chunk_cell(side.get(addresses[i])) for side in sides)
        rows.append((differs[i], f"{addresses[i]:#x}", one, other))
        before = i
    return rows


def _noted(view: HeapView, heap: int) -> dict[int, Chunk]:
    """The chunks of a heap by address, their state with the list that they are in."""
    in_list = {chunk: name for name, chunks in view.lists.items() for chunk in chunks}
    chunks = view.heaps.get(heap, ())
    return {c.address: replace(c, state=_state(c, in_list.get(c.address, ""))) for c in chunks}


def _state(chunk: Chunk, name: str) -> str:
    if not name:
        return chunk.state
    return f"in {name}" if chunk.state == USED else f"{chunk.state}, {name}"


def _covers(sides: Sequence[dict[int, Chunk]], address: int) -> bool:
    """Whether an address lies in a heap, on either side."""
    for side in sides:
        if side and min(side) <= address < max(c.address + c.size_bytes for c in side.values()):
            return True
    return False


def _place(addresses: Sequence[int], address: int) -> int:
    """The index of the last chunk that starts at or below `address`."""
    return max((i for i, a in enumerate(addresses) if a <= address), default=0)


def _chunk_cell(chunk: Chunk | None) -> str:
    if chunk is None:
        return ABSENT
    return FENCE if chunk.state == FENCE else f"{chunk.size_bytes:>9,} {chunk.state}"


def _mapped_rows(real: HeapView, model: HeapView) -> list[Row]:
    rows: list[Row] = []
    for at in sorted(real.mapped.keys() | model.mapped.keys()):
        one, other = real.mapped.get(at), model.mapped.get(at)
        rows.append((one != other, f"{at:#x}", _size_cell(one), _size_cell(other)))
    return rows


def _size_cell(size: int | None) -> str:
    return ABSENT if size is None else f"{size:>9,} mapped"


# ---- lists


def _list_rows(real: HeapView, model: HeapView) -> list[Row]:
    """The lists that differ, then those that are equal, as many as there is room for."""
    names = list(dict.fromkeys([*real.lists, *model.lists]))
    pairs = {name: (real.lists.get(name, ()), model.lists.get(name, ())) for name in names}
    names.sort(key=lambda name: pairs[name][0] == pairs[name][1])
    rows: list[Row] = [_list_row(name, *pairs[name]) for name in names[:MOST_LISTS]]
    if len(names) > MOST_LISTS:
        left = names[MOST_LISTS:]
        unequal = sum(pairs[name][0] != pairs[name][1] for name in left)
        rows.append((unequal > 0, f"{len(left)} more, {unequal} of them differ", "", ""))
    return rows


def _list_row(name: str, real: tuple[int, ...], model: tuple[int, ...]) -> Row:
    same = [a == b for a, b in zip(real, model, strict=False)]
    first = same.index(False) if False in same else 0 if real == model else len(same)
    start = max(0, first - 1)
    return (real != model, name, _members_cell(real, start), _members_cell(model, start))


def _members_cell(chunks: tuple[int, ...], start: int) -> str:
    """Some members from number `start` on, and how many there are."""
    if not chunks:
        return ABSENT
    shown = " ".join(f"{chunk:#x}" for chunk in chunks[start : start + MEMBERS])
    before = "… " if start else ""
    after = " …" if start + MEMBERS < len(chunks) else ""
    return f"{before}{shown}{after} ({len(chunks)})"


# ---- tables


def _table(title: str, rows: Sequence[Row]) -> list[str]:
    """A title and aligned lines: mark, name, real, model."""
    cells = [("", "real", "model"), *(row[1:] for row in rows)]
    name_width, real_width = (max(len(row[i]) for row in cells) for i in (0, 1))
    marks = [False, *(row[0] for row in rows)]
    lines = [
        f"{MARK if marked else NO_MARK}{name:{name_width}}  {real:{real_width}}  {model}".rstrip()
        for marked, (name, real, model) in zip(marks, cells, strict=True)
    ]
    return [title, *lines]
