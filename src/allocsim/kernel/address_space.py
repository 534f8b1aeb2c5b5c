"""The virtual memory areas of a process: an ordered table with splitting, merging and gap search.

Linux keeps its areas in a tree that knows the largest gap below each node. Here they lie in blocks
of at most 64 areas, ordered by address; each block has an upper bound of the gaps below its areas,
so a search skips blocks that cannot hold the mapping, and tens of thousands of areas stay cheap.

A *cursor* names an area: (block position) * 64 + (index in the block). Addresses are in bytes.
"""

from allocsim.component import Component, Pool, inline
from allocsim.component.native import move

BLOCK = 64
MAX_BLOCKS = 1 << 16
PROT_NONE, PROT_READ, PROT_READ_WRITE = 0, 1, 3
ENOMEM, EFAULT, EINVAL = -12, -14, -22


class VmaTable(Component):
    """All areas of one address space: [lo, hi) with attributes.

    `attributes` are compared for merging: the protection in bits 0-2, the kind above (0 is private
    anonymous memory; anything else never merges).
    """

    lo = Pool("i8", MAX_BLOCKS * BLOCK)
    hi = Pool("i8", MAX_BLOCKS * BLOCK)
    attributes = Pool("i8", MAX_BLOCKS * BLOCK)
    order = Pool("i8", MAX_BLOCKS)  # block position -> block
    used = Pool("i8", MAX_BLOCKS)  # areas in a block
    gap = Pool("i8", MAX_BLOCKS)  # no gap below an area of this block is larger
    spare = Pool("i8", MAX_BLOCKS)  # emptied blocks, to be used again
    n_blocks = 1
    n_made = 1
    n_spare = 0
    n_areas = 0
    unmapped_bytes = 0  # how much the last unmap() really removed
    recent = 0  # the cursor that was found last

    # ---- cursors
    @inline
    def slot(self, cursor):
        """Where the area at `cursor` lies in lo, hi and attributes."""
        return self.order[cursor >> 6] * BLOCK + (cursor & 63)

    def end(self):
        return self.n_blocks * BLOCK

    def before(self, cursor):
        """The cursor of the area below, or -1."""
        if cursor & 63:
            return cursor - 1
        position = (cursor >> 6) - 1
        if position < 0 or self.n_areas == 0:
            return -1
        return position * BLOCK + self.used[self.order[position]] - 1

    def after(self, cursor):
        if (cursor & 63) + 1 < self.used[self.order[cursor >> 6]]:
            return cursor + 1
        return ((cursor >> 6) + 1) * BLOCK

    def first_above(self, address):
        """The cursor of the lowest area that ends above `address`, or end().

        One call follows another at the same place, so the area found last and the one after it are
        looked at first.
        """
        if self.n_areas == 0:
            return self.end()
        cursor = self.recent
        if cursor < self.end() and cursor & 63 < self.used[self.order[cursor >> 6]]:
            if self.hi[self.slot(cursor)] <= address:
                cursor = self.after(cursor)
                if cursor != self.end() and self.hi[self.slot(cursor)] > address:
                    self.recent = cursor
                    return cursor
            else:
                below = self.before(cursor)
                if below < 0 or self.hi[self.slot(below)] <= address:
                    return cursor
        self.recent = self.search(address)
        return self.recent

    def search(self, address):
        """The same by bisection, over blocks and within one."""
        low = 0
        high = self.n_blocks
        while low < high:
            middle = (low + high) >> 1
            block = self.order[middle]
            if self.hi[block * BLOCK + self.used[block] - 1] > address:
                high = middle
            else:
                low = middle + 1
        if low == self.n_blocks:
            return self.end()
        first = self.order[low] * BLOCK
        i = 0
        high = self.used[self.order[low]] - 1
        while i < high:
            middle = (i + high) >> 1
            if self.hi[first + middle] > address:
                high = middle
            else:
                i = middle + 1
        return low * BLOCK + i

    def find(self, address):
        """The slot of the area that holds `address`, or -1."""
        cursor = self.first_above(address)
        if cursor == self.end():
            return -1
        slot = self.slot(cursor)
        return slot if self.lo[slot] <= address else -1

    def is_free(self, lo, hi):
        """Whether no area overlaps [lo, hi)."""
        cursor = self.first_above(lo)
        return cursor == self.end() or self.lo[self.slot(cursor)] >= hi

    def clear(self):
        """Forget all areas."""
        self.n_blocks = 1
        self.n_made = 1
        self.n_spare = 0
        self.n_areas = 0
        self.order[0] = 0
        self.used[0] = 0
        self.gap[0] = 0

    # ---- blocks
    def note_gap(self, cursor):
        """The gap below the area at `cursor` may have grown."""
        if cursor == self.end():
            return
        below = self.before(cursor)
        floor = self.hi[self.slot(below)] if below >= 0 else 0
        block = self.order[cursor >> 6]
        size = self.lo[self.slot(cursor)] - floor
        if size > self.gap[block]:
            self.gap[block] = size

    def insert(self, cursor, lo, hi, attributes):
        """Put an area before `cursor`."""
        position = cursor >> 6
        i = cursor & 63
        if position == self.n_blocks:
            position -= 1
            i = self.used[self.order[position]]
        if self.used[self.order[position]] == BLOCK:
            self.split_block(position)
            if i > BLOCK // 2:
                position += 1
                i -= BLOCK // 2
        block = self.order[position]
        self.shift(block * BLOCK + i, 1, self.used[block] - i)
        slot = block * BLOCK + i
        self.lo[slot] = lo
        self.hi[slot] = hi
        self.attributes[slot] = attributes
        self.used[block] += 1
        self.n_areas += 1
        self.note_gap(position * BLOCK + i)

    def shift(self, slot, by, n):
        """Move n areas from `slot` by `by` slots."""
        if n > 0:
            move(self.lo, slot, slot + by, n)
            move(self.hi, slot, slot + by, n)
            move(self.attributes, slot, slot + by, n)

    def split_block(self, position):
        """The upper half of a full block goes to a block of its own behind it."""
        old = self.order[position]
        if self.n_spare > 0:
            self.n_spare -= 1
            new = self.spare[self.n_spare]
        else:
            new = self.n_made
            self.n_made += 1
        half = BLOCK // 2
        self.shift(old * BLOCK + half, (new - old) * BLOCK - half, half)
        self.used[old] = half
        self.used[new] = half
        self.gap[new] = self.gap[old]
        move(self.order, position + 1, position + 2, self.n_blocks - position - 1)
        self.order[position + 1] = new
        self.n_blocks += 1

    def remove(self, cursor):
        """Take the area at `cursor` out; returns the cursor of the one that followed it."""
        position = cursor >> 6
        block = self.order[position]
        i = cursor & 63
        self.shift(block * BLOCK + i + 1, -1, self.used[block] - i - 1)
        self.used[block] -= 1
        self.n_areas -= 1
        following = cursor
        if i == self.used[block]:
            following = (position + 1) * BLOCK
        if self.used[block] == 0 and self.n_blocks > 1:
            self.spare[self.n_spare] = block
            self.n_spare += 1
            move(self.order, position + 1, position, self.n_blocks - position - 1)
            self.n_blocks -= 1
            following = position * BLOCK
        self.note_gap(following)
        return following

    # ---- areas
    def map(self, lo, hi, attributes):
        """Add the free range [lo, hi), merged with equal anonymous neighbours as Linux does."""
        above = self.first_above(lo)
        below = self.before(above)
        joins_below = below >= 0 and self.touches(below, lo, attributes)
        joins_above = (
            above != self.end()
            and attributes < 8
            and self.lo[self.slot(above)] == hi
            and self.attributes[self.slot(above)] == attributes
        )
        if joins_below and joins_above:
            self.hi[self.slot(below)] = self.hi[self.slot(above)]
            self.remove(above)
        elif joins_below:
            self.hi[self.slot(below)] = hi
        elif joins_above:
            self.lo[self.slot(above)] = lo
        else:
            self.insert(above, lo, hi, attributes)

    def touches(self, cursor, lo, attributes):
        """Whether the area at `cursor` ends at `lo` and may merge with such a neighbour."""
        slot = self.slot(cursor)
        return attributes < 8 and self.hi[slot] == lo and self.attributes[slot] == attributes

    def unmap(self, lo, hi):
        """Remove whatever lies in [lo, hi); `unmapped_bytes` says how much that was."""
        self.unmapped_bytes = 0
        cursor = self.first_above(lo)
        if cursor == self.end():
            return
        slot = self.slot(cursor)
        if self.lo[slot] <= lo and hi <= self.hi[slot]:
            self.cut(cursor, lo, hi)
            return
        self.split(hi)
        cursor = self.split(lo)
        while cursor != self.end() and self.lo[self.slot(cursor)] < hi:
            slot = self.slot(cursor)
            self.unmapped_bytes += self.hi[slot] - self.lo[slot]
            cursor = self.remove(cursor)

    def cut(self, cursor, lo, hi):
        """Remove [lo, hi) from the area at `cursor`, which holds it."""
        self.unmapped_bytes = hi - lo
        slot = self.slot(cursor)
        area_hi = self.hi[slot]
        if self.lo[slot] == lo and area_hi == hi:
            self.remove(cursor)
        elif self.lo[slot] == lo:
            self.lo[slot] = hi
            self.note_gap(cursor)
        else:
            self.hi[slot] = lo
            if area_hi == hi:
                self.note_gap(self.after(cursor))
            else:
                self.insert(cursor + 1, hi, area_hi, self.attributes[slot])

    def split(self, address):
        """Cut the area around `address`, if any, in two; returns the cursor of the upper one."""
        cursor = self.first_above(address)
        if cursor == self.end():
            return cursor
        slot = self.slot(cursor)
        if self.lo[slot] >= address:
            return cursor
        lo = self.lo[slot]
        self.lo[slot] = address
        self.insert(cursor, lo, address, self.attributes[slot])
        return self.first_above(address)

    def protect(self, lo, hi, protection):
        """Give [lo, hi) another protection, splitting and merging."""
        self.split(hi)
        cursor = self.split(lo)
        while cursor != self.end() and self.lo[self.slot(cursor)] < hi:
            slot = self.slot(cursor)
            area_lo = self.lo[slot]
            area_hi = self.hi[slot]
            attributes = (self.attributes[slot] & ~7) | protection
            self.remove(cursor)
            self.map(area_lo, area_hi, attributes)
            cursor = self.first_above(area_hi)
        if cursor != self.end() and self.lo[self.slot(cursor)] == hi:
            self.join_below(cursor)

    def join_below(self, cursor):
        """Merge the area at `cursor` with the one below where they are alike."""
        below = self.before(cursor)
        slot = self.slot(cursor)
        if below >= 0 and self.touches(below, self.lo[slot], self.attributes[slot]):
            self.hi[self.slot(below)] = self.hi[slot]
            self.remove(cursor)

    def covers(self, lo, hi):
        """Whether every byte of [lo, hi) is mapped."""
        cursor = self.first_above(lo)
        while cursor != self.end() and self.lo[self.slot(cursor)] <= lo:
            lo = self.hi[self.slot(cursor)]
            if lo >= hi:
                return True
            cursor = self.after(cursor)
        return False

    def splits(self, lo, hi):
        """How many areas unmapping [lo, hi) would add: 1 when it cuts a hole into one."""
        slot = self.find(lo)
        return 1 if slot >= 0 and self.lo[slot] < lo and self.hi[slot] > hi else 0

    # ---- gaps
    def highest_gap(self, length, floor, ceiling):
        """The start of the highest free range of `length` bytes in [floor, ceiling), or ENOMEM.

        The range touches the top of its gap: Linux's top-down search. The area below is `recent`
        then, since the range is mapped next.
        """
        top = ceiling
        cursor = self.before(self.end())
        while cursor >= 0 and self.lo[self.slot(cursor)] >= ceiling:  # stack and vdso, if any
            cursor = self.before(cursor)
        while cursor >= 0:
            hi = self.hi[self.slot(cursor)]
            if top - hi >= length:
                self.recent = cursor
                return top - length if top - length >= floor else ENOMEM
            block = self.order[cursor >> 6]
            if hi > top or self.gap[block] >= length:
                top = self.walk_down(cursor, min(top, hi), length)
                if top < 0:
                    return -top - length if -top - length >= floor else ENOMEM
            else:
                top = self.lo[block * BLOCK]
            cursor = self.before(cursor & ~63)
        return top - length if top - length >= floor else ENOMEM

    def walk_down(self, cursor, top, length):
        """Search one block from `cursor` down, the areas above being passed.

        Returns minus the top of the gap that fits, or the start of the block's first area, after
        which the block's bound is exact again.
        """
        first = self.order[cursor >> 6] * BLOCK
        i = cursor & 63
        largest = 0
        top = min(top, self.lo[first + i])
        while i > 0:
            i -= 1
            size = top - self.hi[first + i]
            if size >= length:
                self.recent = (cursor & ~63) + i
                return -top
            largest = max(largest, size)
            top = self.lo[first + i]
        below = self.before(cursor & ~63)
        floor = self.hi[self.slot(below)] if below >= 0 else 0
        if (cursor & 63) + 1 == self.used[self.order[cursor >> 6]]:
            self.gap[self.order[cursor >> 6]] = max(largest, top - floor)
        return top

    def lowest_gap(self, length, floor, ceiling):
        """The start of the lowest free range of `length` bytes in [floor, ceiling), or ENOMEM."""
        bottom = floor
        cursor = self.first_above(floor)
        while cursor != self.end() and self.lo[self.slot(cursor)] - bottom < length:
            block = self.order[cursor >> 6]
            if cursor & 63 == 0 and self.gap[block] < length:
                cursor += self.used[block] - 1
            bottom = self.hi[self.slot(cursor)]
            cursor = self.after(cursor)
        return bottom if bottom + length <= ceiling else ENOMEM
