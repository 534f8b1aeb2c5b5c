"""Both heaps side by side, read chunk by chunk: what `verify` shows of a difference."""

from allocsim.ground_truth.heaps.both import both_heaps, chunks_at, first_ops
from allocsim.ground_truth.heaps.model import model_view, shape_of, structures
from allocsim.ground_truth.heaps.real import real_view
from allocsim.ground_truth.heaps.report import report
from allocsim.ground_truth.heaps.view import Chunk, HeapView

__all__ = [
    "Chunk",
    "HeapView",
    "both_heaps",
    "chunks_at",
    "first_ops",
    "model_view",
    "real_view",
    "report",
    "shape_of",
    "structures",
]
