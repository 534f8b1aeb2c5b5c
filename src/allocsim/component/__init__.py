"""Components: classes with flat, declared state whose source runs interpreted or compiled."""

from allocsim.component.base import Component, host, in_bounds, inline, variant
from allocsim.component.bound import Bound
from allocsim.component.fields import Array, Param, Part, Parts, PerThread, Pool, Ref
from allocsim.component.native import ctz, ilog2

__all__ = [
    "Array",
    "Bound",
    "Component",
    "Param",
    "Part",
    "Parts",
    "PerThread",
    "Pool",
    "Ref",
    "ctz",
    "host",
    "ilog2",
    "in_bounds",
    "inline",
    "variant",
]
