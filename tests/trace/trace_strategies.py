"""Random valid traces, for property tests."""

from hypothesis import strategies as st

from allocsim.trace import Op, Trace
from allocsim.trace.ops import PAGE_BYTES

ALLOCATE = (Op.MALLOC, Op.CALLOC, Op.REALLOC, Op.ALIGNED_ALLOC)


@st.composite
def traces(draw: st.DrawFn, max_ops: int = 60) -> Trace:
    """A trace that makes sense, written from the rules as a person would tell them."""
    held: dict[int, tuple[str, int]] = {}
    rows = [_row(draw, held) for _ in range(draw(st.integers(0, max_ops)))]
    names = ("op", "object", "size", "alignment", "written", "offset", "arg")
    columns = {name: [row[name] for row in rows] for name in names}
    numbers = st.lists(st.integers(0, 2**40), min_size=len(rows), max_size=len(rows))
    threads = st.lists(st.integers(0, 5), min_size=len(rows), max_size=len(rows))
    return Trace.of(**columns, thread=draw(threads), time_ns=draw(numbers), think_ns=draw(numbers))


def _row(draw: st.DrawFn, held: dict[int, tuple[str, int]]) -> dict[str, int]:
    row = dict.fromkeys(("op", "object", "size", "alignment", "written", "offset", "arg"), 0)
    slot = row["object"] = draw(st.integers(0, 7))
    size = draw(st.one_of(st.integers(0, 300), st.integers(0, 2**47)))
    kind, held_bytes = held.get(slot, ("empty", 0))
    choices = {"empty": (*ALLOCATE, Op.MMAP), "block": (Op.FREE, Op.REALLOC, Op.TOUCH, Op.READ)}
    mapping = (Op.TOUCH, Op.READ, Op.MUNMAP, Op.MREMAP, Op.MADVISE)
    op = row["op"] = draw(st.sampled_from((Op.MARK, *choices.get(kind, mapping))))
    if op == Op.MARK:
        row |= {"object": -1, "arg": draw(st.integers(-(2**63), 2**63 - 1))}
    elif op in ALLOCATE:
        row |= {"size": size, "written": draw(st.integers(0, size))}
        row["alignment"] = 2 ** draw(st.integers(0, 30)) if op == Op.ALIGNED_ALLOC else 0
        held[slot] = ("block", size)
        if op == Op.REALLOC and size == 0 and kind == "block":
            del held[slot]
    elif op == Op.FREE:
        del held[slot]
    elif op in (Op.MMAP, Op.MREMAP):
        pages = draw(st.integers(1, 2**20))
        row |= {"size": pages * PAGE_BYTES, "arg": draw(st.integers(0, 1))}
        held[slot] = ("mapping", pages * PAGE_BYTES)
    elif op == Op.MUNMAP:
        pages = held_bytes // PAGE_BYTES
        keep = draw(st.integers(0, pages - 1))
        row |= {"offset": keep * PAGE_BYTES, "size": (pages - keep) * PAGE_BYTES}
        held[slot] = ("mapping", keep * PAGE_BYTES)
        if keep == 0:
            del held[slot]
    else:
        unit = PAGE_BYTES if op == Op.MADVISE else 1
        row["offset"] = draw(st.integers(0, held_bytes // unit)) * unit
        row["size"] = draw(st.integers(0, held_bytes - row["offset"]))
        row["arg"] = 4 if op == Op.MADVISE else 0
    return row
