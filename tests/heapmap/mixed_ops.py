"""Ops of every kind, for maps."""

import numpy as np

from allocsim.trace import Op, Trace


def mixed_ops(n=1500, slots=60, seed=1):
    """Every kind of op, own mappings of which parts are unmapped among them."""
    random = np.random.default_rng(seed)
    rows, mapped, live = [], {}, set()
    for _ in range(n):
        slot = int(random.integers(slots))
        size = int(2 ** random.uniform(3, 17))
        if slot in mapped:
            rows.append((Op.MUNMAP, slot, 4096, 0, 0))
            mapped[slot] -= 1
            if not mapped[slot]:
                del mapped[slot]
        elif slot in live and random.random() < 0.3:
            rows.append((Op.REALLOC, slot, size, size // 2, 0))
        elif slot in live:
            rows.append((Op.FREE, slot, 0, 0, 0))
            live.discard(slot)
        elif random.random() < 0.1:
            mapped[slot] = 1
            rows.append((Op.MMAP, slot, 4096, 0, 3))
        else:
            kind = Op.CALLOC if random.random() < 0.2 else Op.MALLOC
            rows.append((kind, slot, size, size if random.random() < 0.7 else 0, 0))
            live.add(slot)
    op, slot, size, written, arg = zip(*rows, strict=True)
    return Trace.of(op=op, object=slot, size=size, written=written, arg=arg)
