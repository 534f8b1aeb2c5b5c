"""Measures real allocators on traces: `allocsim measure`, and the basis of `allocsim validate`."""

from allocsim.ground_truth.measurement.allocators import Allocator, find_allocator
from allocsim.ground_truth.measurement.measure import Measured, measure
from allocsim.ground_truth.measurement.timing import Band

__all__ = ["Allocator", "Band", "Measured", "find_allocator", "measure"]
