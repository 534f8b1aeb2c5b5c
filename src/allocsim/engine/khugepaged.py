"""The kernel's thread that makes huge pages of small ones, as a background process."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import simpy


@dataclass(frozen=True)
class Khugepaged:
    """Wakes up every `scan_sleep_ms` milliseconds and looks at `pages_to_scan` pages.

    Names and defaults are those of /sys/kernel/mm/transparent_hugepage/khugepaged; `max_ptes_none`
    is the kernel's (HugePageKernel). Its work is not the program's: it costs the program nothing.
    """

    scan_sleep_ms: int = 10_000
    pages_to_scan: int = 4096

    def live(
        self, environment: simpy.Environment, ticks_per_ms: int, scan: Callable[[int], Any]
    ) -> Generator[simpy.Event, None, None]:
        """The process; `scan(pages)` does what there is to do, for as long as it says so."""
        while True:
            yield environment.timeout(self.scan_sleep_ms * ticks_per_ms)
            if scan(self.pages_to_scan) is None:
                return
