"""The modelled Linux kernel: simulated memory, address space, system calls, costs."""

from allocsim.kernel.costs import CostTable, Event
from allocsim.kernel.kernel import Kernel
from allocsim.kernel.layout import Layout

__all__ = ["CostTable", "Event", "Kernel", "Layout"]
