"""allocsim: what would this program cost, in memory and CPU, under another allocator policy?

What a policy's author needs is exported here and loaded when first used, so that the command line
starts without it.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "Array": "allocsim.component",
    "BoundaryTagHeap": "allocsim.boundary_tags",
    "Component": "allocsim.component",
    "Param": "allocsim.component",
    "Part": "allocsim.component",
    "Parts": "allocsim.component",
    "PerThread": "allocsim.component",
    "Pool": "allocsim.component",
    "Ref": "allocsim.component",
    "ctz": "allocsim.component",
    "host": "allocsim.component",
    "ilog2": "allocsim.component",
    "inline": "allocsim.component",
    "Kernel": "allocsim.kernel",
    "Kind": "allocsim.policy",
    "Policy": "allocsim.policy",
    "load_policy": "allocsim.policy",
}
__all__ = ["__version__", *sorted(_EXPORTS)]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'allocsim' has no attribute {name!r}")
