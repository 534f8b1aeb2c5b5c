"""The referee: stands between program and policy and checks every block, knowing nothing of either.

It holds an interval map of the live blocks. It also writes tags into what the program writes, and
looks whether they are still there when the block is resized or freed. It changes no count, time or
page state, so a refereed run has the results of a plain one; it is interpreted only.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Any

from allocsim.driver import Driver, driver_for
from allocsim.errors import SimulationError
from allocsim.kernel.backing import PAGE_BYTES, PAGE_SHIFT, WORDS
from allocsim.policy import Policy

ALIGNMENT_BYTES = 16
_OURS = ("policy", "fouls", "collects", "blocks", "usable", "tags", "born", "serial")


class FoulError(SimulationError):
    """A policy broke a rule of the contract; the message names rule, policy, call and address."""

    is_complete = True


class Referee:
    """A policy to the driver: every call is passed on, and what it gives is judged.

    A foul is an error; or, if the referee `collects`, an entry of `fouls`: rule -> first message.
    An overlap is an error in any case: from there on nobody knows whose bytes are whose.
    """

    def __init__(self, policy: Policy, collects: bool = False) -> None:
        self.policy, self.collects = policy, collects
        self.fouls: dict[str, str] = {}
        self.blocks: list[int] = []  # addresses of live blocks, sorted
        self.usable: dict[int, int] = {}  # bytes that the program may use
        self.tags: dict[int, dict[int, int]] = {}  # block -> offset -> word that must be there
        self.born: dict[int, str] = {}  # block -> the operation that it comes from
        self.serial = 0
        kernel: Any = policy.kernel  # bytes move for real while somebody looks at them
        kernel.touch, kernel.copy, kernel.zero = self.touch, self.copy, self.zero

    def __getattr__(self, name: str) -> Any:
        return getattr(self.policy, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OURS:
            object.__setattr__(self, name, value)
        else:
            setattr(self.policy, name, value)

    # ---- the calls
    def malloc(self, size: int) -> int:
        return self._enter("malloc", self.policy.malloc(size), size)

    def calloc(self, size: int) -> int:
        address = self._enter("calloc", self.policy.calloc(size), size)
        dirty = next(self._filled(address, size), None) if address else None
        if dirty:
            self._foul("calloc is zero", "calloc", f"old data at {dirty[0]:#x}")
        return address

    def aligned_alloc(self, alignment: int, size: int) -> int:
        address = self.policy.aligned_alloc(alignment, size)
        return self._enter("aligned_alloc", address, size, alignment)

    def free(self, address: int) -> None:
        self._leave("free", address)
        self.policy.free(address)

    def realloc(self, address: int, size: int) -> int:
        usable, tags = self.usable.get(address, 0), self._leave("realloc", address)
        moved = self.policy.realloc(address, size)
        if moved == 0:  # the old block stays as it was
            self._keep(address, usable)
        else:
            self._enter("realloc", moved, size)
        kept = {offset: tag for offset, tag in tags.items() if not moved or offset + 8 <= size}
        self.tags[moved or address] = kept
        self._check_tags("realloc keeps contents", "realloc", moved or address)
        return moved

    # ---- the rules
    def _enter(self, call: str, address: int, size: int, alignment: int = ALIGNMENT_BYTES) -> int:
        """A block was served: it is aligned, mapped, large enough, and nobody else's."""
        if address == 0:
            return 0
        alignment = max(alignment, ALIGNMENT_BYTES)
        if address < 0 or address % alignment:
            self._foul("alignment", call, f"{address:#x} is not a multiple of {alignment}")
        usable = size
        if self._is_mapped(call, address, size):
            usable = self._usable(address, size)
            self._is_mapped(call, address, usable)
        if usable < size:
            self._foul("usable size", call, f"{usable} of {size} bytes usable at {address:#x}")
        end = address + max(usable, 1)
        at = bisect_right(self.blocks, address)
        for other in self.blocks[max(at - 1, 0) : at + 1]:
            if other < end and address < other + max(self.usable[other], 1):
                self._overlap(call, address, size, other)
        self._keep(address, usable)
        self.born[address] = f"op {self.policy.kernel.op}"
        return address

    def _overlap(self, call: str, address: int, size: int, other: int) -> None:
        block = f"{other:#x}, {self.usable[other]:,} bytes, live since {self.born[other]}"
        what = f"{address:#x}, {size:,} bytes, overlaps another block ({block})"
        self._foul("no overlap", call, what)
        raise FoulError(f"no overlap: {type(self.policy).__name__}.{call}: {what}")

    def _is_mapped(self, call: str, address: int, size: int) -> bool:
        end = address + max(size, 1)
        mapped = self.policy.kernel.areas.covers(address, end)
        if not mapped:
            self._foul("mapped memory", call, f"[{address:#x}, {end:#x}) is not all mapped")
        return mapped

    def _keep(self, address: int, usable: int) -> None:
        insort(self.blocks, address)
        self.usable[address], self.tags[address] = usable, {}

    def _leave(self, call: str, address: int) -> dict[int, int]:
        """A block is given back: it holds what was written."""
        self._check_tags("contents survive", call, address)
        del self.blocks[bisect_left(self.blocks, address)]
        self.usable.pop(address)
        return self.tags.pop(address)

    def _check_tags(self, rule: str, call: str, block: int) -> None:
        for offset, tag in self.tags[block].items():
            if self.policy.kernel.peek(block + offset) != tag:
                self._foul(rule, call, f"what was written at {block:#x} + {offset} is lost")

    def _usable(self, address: int, size: int) -> int:
        """What the policy says is usable; asking leaves no trace in the counts."""
        if type(self.policy).usable_size is Policy.usable_size:
            return size
        kernel = self.policy.kernel
        parts = [
            kernel.counts,
            kernel.lines,
            *([kernel.owners] if hasattr(kernel, "owners") else []),
        ]
        before = [(part, bytes(part)) for part in parts]
        accesses = kernel.accesses, kernel.far_accesses
        usable = self.policy.usable_size(address)
        kernel.accesses, kernel.far_accesses = accesses
        for part, content in before:
            part[:] = memoryview(content).cast(part.format)
        return usable

    def _foul(self, rule: str, call: str, what: str) -> None:
        message = f"{type(self.policy).__name__}.{call}: {what}"
        if not self.collects:
            raise FoulError(f"{rule}: {message}")
        self.fouls.setdefault(rule, f"op {self.policy.kernel.op}, {message}")

    # ---- memory, with contents
    def touch(self, address: int, n_bytes: int) -> None:
        """The program writes: tag the first and last whole words of it."""
        type(self.policy.kernel).touch(self.policy.kernel, address, n_bytes)
        at = bisect_right(self.blocks, address) - 1
        first, last = (address + 7) & -8, ((address + n_bytes) & -8) - 8
        if at < 0 or first > last or last >= self.blocks[at] + self.usable[self.blocks[at]]:
            return
        for word in (first, last):
            self.serial += 1
            self.policy.kernel.plant(word, self.serial << 8 | 0x5B)
            self.tags[self.blocks[at]][word - self.blocks[at]] = self.serial << 8 | 0x5B

    def copy(self, target: int, source: int, n_bytes: int) -> None:
        type(self.policy.kernel).copy(self.policy.kernel, target, source, n_bytes)
        held = list(self._filled(source, n_bytes))
        self._clear(target, n_bytes)
        for at, word in held:
            self.policy.kernel.plant(target + at - source, word)

    def zero(self, address: int, n_bytes: int) -> None:
        type(self.policy.kernel).zero(self.policy.kernel, address, n_bytes)
        self._clear(address, n_bytes)

    def _clear(self, address: int, n_bytes: int) -> None:
        for at, _ in list(self._filled(address, n_bytes)):
            self.policy.kernel.plant(at, 0)

    def _filled(self, address: int, n_bytes: int) -> Iterator[tuple[int, int]]:
        """The whole words of a range that are not zero, with their addresses."""
        kernel, end = self.policy.kernel, address + n_bytes
        for page in range(address & -PAGE_BYTES, end, PAGE_BYTES):
            if kernel.state[kernel.offset(page) >> PAGE_SHIFT] >= WORDS:
                first = max((address + 7) & -8, page)
                for at in range(first, min(end, page + PAGE_BYTES) - 7, 8):
                    if word := kernel.peek(at):
                        yield at, word


def refereed(policy: type[Policy], *, collects: bool = False, **parameters: Any) -> Driver:
    """A driver like `driver_for`'s whose policy is under a referee; interpreted only."""
    driver = driver_for(policy, **parameters)
    driver.interpreted_only = True  # type: ignore[misc]
    driver.policy = Referee(driver.policy, collects)
    return driver
