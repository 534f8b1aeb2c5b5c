"""Where a curve over a swept parameter turns: pure functions from points to findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Shape = Literal["flat", "falls", "rises", "valley", "peak", "mixed"]


@dataclass(frozen=True)
class Turn:
    """The shape of a curve and where it turns.

    start: the last value up to which the curve stays near its first point; end: the first value
    from which it stays near its last point; where these overlap, the two ends of the steepest step.
    best: where it is lowest (the first such value). extreme: of a valley the lowest point, of a
    peak the highest, else None. ratio: highest over lowest, None where the lowest is 0.
    """

    shape: Shape
    start: float
    end: float
    best: float
    extreme: float | None
    ratio: float | None


def find_turn(x: Sequence[float], y: Sequence[float], tolerance: float) -> Turn:
    """Describes the curve y(x), x rising; two values within `tolerance` of each other are equal.

    A curve whose highest point is within tolerance of its lowest is flat: it has no turn.
    ValueError for fewer than two points or a point that is no finite number.
    """
    points = np.asarray(y, float)
    if len(x) != len(points) or len(points) < 2 or not np.isfinite(points).all():
        raise ValueError("a turn needs at least two points, all of them finite")
    shape = _shape(points, tolerance)
    start, end = _bend(points, tolerance)
    return Turn(
        shape=shape,
        start=float(x[start]),
        end=float(x[end]),
        best=float(x[int(points.argmin())]),
        extreme=_extreme(x, points, shape),
        ratio=_ratio(points.max(), points.min()),
    )


def find_crossing(
    x: Sequence[float], first: Sequence[float], second: Sequence[float]
) -> tuple[float, float] | None:
    """Between which two values of x the curves cross, each scaled to run from 0 to 1.

    None unless one falls and the other rises so that they cross exactly once. With cost falling and
    memory rising this is where gaining on one begins to lose more on the other.
    """
    gap = _scaled(np.asarray(first, float)) - _scaled(np.asarray(second, float))
    above = gap > 0
    changes = np.flatnonzero(above[1:] != above[:-1])
    if len(changes) != 1 or gap[0] * gap[-1] >= 0:
        return None
    at = int(changes[0])
    return float(x[at]), float(x[at + 1])


def _shape(points: np.ndarray, tolerance: float) -> Shape:
    low, high = int(points.argmin()), int(points.argmax())
    if _near(points[high], points[low], tolerance):
        return "flat"
    if _falls(points, tolerance):
        return "falls"
    if _rises(points, tolerance):
        return "rises"
    if _falls(points[: low + 1], tolerance) and _rises(points[low:], tolerance):
        return "valley"
    if _rises(points[: high + 1], tolerance) and _falls(points[high:], tolerance):
        return "peak"
    return "mixed"


def _falls(points: np.ndarray, tolerance: float) -> bool:
    """Whether no point lies above the lowest before it by more than the tolerance."""
    lowest = np.minimum.accumulate(points)
    return bool(np.all(points <= lowest * (1 + tolerance)))


def _rises(points: np.ndarray, tolerance: float) -> bool:
    return _falls(points[::-1], tolerance)


def _bend(points: np.ndarray, tolerance: float) -> tuple[int, int]:
    """Where the first plateau ends and the last one begins; the steepest step if they overlap."""
    start = _plateau(points, tolerance) - 1
    end = len(points) - _plateau(points[::-1], tolerance)
    if start < end:
        return start, end
    steepest = int(np.abs(np.diff(points)).argmax())
    return steepest, steepest + 1


def _plateau(points: np.ndarray, tolerance: float) -> int:
    """How many points from the first on stay within the tolerance of the first."""
    away = [not _near(point, points[0], tolerance) for point in points]
    return away.index(True) if True in away else len(points)


def _extreme(x: Sequence[float], points: np.ndarray, shape: Shape) -> float | None:
    if shape == "valley":
        return float(x[int(points.argmin())])
    return float(x[int(points.argmax())]) if shape == "peak" else None


def _near(a: float, b: float, tolerance: float) -> bool:
    return max(a, b) <= min(a, b) * (1 + tolerance)


def _ratio(high: float, low: float) -> float | None:
    return float(high / low) if low > 0 else None


def _scaled(points: np.ndarray) -> np.ndarray:
    span = points.max() - points.min()
    return (points - points.min()) / span if span > 0 else np.zeros_like(points)
