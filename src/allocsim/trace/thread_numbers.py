"""Numbers threads from 0 without gaps, whatever another tool calls them."""

import numpy as np

from allocsim.errors import InputError
from allocsim.trace.schema import MAX_THREADS


class ThreadNumbers:
    """Threads by the names of a file, such as Linux's thread ids, in the order of their first ops.

    `numbers` gives each thread seen so far its number.
    """

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}

    def number(self, ids: np.ndarray) -> np.ndarray:
        """The numbers of the next ops' threads; raises InputError when there are too many."""
        found, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
        for thread in found[np.argsort(first)].tolist():
            self.numbers.setdefault(thread, len(self.numbers))
        if len(self.numbers) > MAX_THREADS:
            raise InputError(f"more than {MAX_THREADS:,} threads, the most that Linux numbers")
        return np.array([self.numbers[thread] for thread in found.tolist()], np.int64)[inverse]

    def given(self) -> np.ndarray | None:
        """By number what the file calls each thread, if it numbers all from 0 in another order."""
        ids = np.fromiter(self.numbers, np.int64, len(self.numbers))
        in_order = np.arange(len(ids))
        if np.array_equal(ids, in_order) or not np.array_equal(np.sort(ids), in_order):
            return None
        return ids

    def note(self) -> str:
        """What to say of threads that were not numbered from 0 without gaps; else nothing."""
        n_threads = len(self.numbers)
        if not n_threads or max(self.numbers) == n_threads - 1:
            return ""
        if n_threads == 1:
            return f"thread {next(iter(self.numbers))} is numbered 0"
        low, high = min(self.numbers), max(self.numbers)
        return (
            f"{n_threads:,} threads, called {low} to {high}, are numbered 0 to {n_threads - 1} "
            "in the order of their first ops"
        )
