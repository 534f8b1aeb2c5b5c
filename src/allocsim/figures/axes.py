"""Axes with units: bytes, swept parameters, numbers that span decades; none fails without data."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    MultipleLocator,
    NullFormatter,
    NullLocator,
)

from allocsim.experiment.table import show_value

WIDE = 20
"""From this factor between the largest and the smallest value on an axis is logarithmic."""
_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_CLOSEST_TICKS = 0.11
"""How close two ticks with labels may be, as a share of the axis."""


def bytes_axis(axis: Any, most_ticks: int = 5) -> None:
    """Ticks at round numbers of one binary unit, on a linear axis that starts at zero."""
    high = max(max(axis.get_view_interval()), 1.0)
    step = 2.0 ** math.ceil(math.log2(high / most_ticks))
    name, size = next((u for u in _UNITS if high >= u[1]), ("B", 1))
    axis.set_major_locator(MultipleLocator(step))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:g} {name}"))


def from_zero(axis: Any, values: Iterable[float], room: float = 1.12) -> None:
    """A linear axis from 0 to `room` times the highest value, so that its marker is not cut."""
    top = max(_finite(values), default=0)
    limits = axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim
    limits(0, top * room if top > 0 else 1)


def log_if_wide(axis: Any, values: Iterable[float]) -> bool:
    """A logarithmic axis where positive values span more than a factor of `WIDE`; whether it is."""
    found = _finite(values)
    wide = bool(found) and min(found) > 0 and max(found) > WIDE * min(found)
    if wide:
        log_axis(axis, found)
    return wide


def log_axis(axis: Any, values: Iterable[float]) -> None:
    """A logarithmic axis with plain numbers at its ticks, several of them however short it is.

    Linear from zero where a value is none that a logarithmic axis could show.
    """
    found = _finite(values)
    if not found or min(found) <= 0:
        from_zero(axis, found)
        return
    scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    scale("log")
    span = max(found) / min(found)
    if span < 4:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if span < 300 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def parameter_axis(axes: Axes, values: Sequence[float], name: str, unit: str) -> None:
    """The x axis of a swept parameter, with its unit, and ticks at its values as far as they fit.

    Equal steps are drawn equal on a linear axis, equal factors on a logarithmic one. Zero among
    values that span much is drawn one step below the smallest other.
    """
    values = sorted(values)
    scale = parameter_scale(values)
    if scale == "log":
        axes.set_xscale("log", base=2)
        axes.set_xlim(values[0] / 1.3, values[-1] * 1.3)
    elif scale == "symlog":
        smallest = next(value for value in values if value > 0)
        axes.set_xscale("symlog", base=2, linthresh=smallest, linscale=1)
        axes.set_xlim(-0.3 * smallest, values[-1] * 1.3)
    else:
        pad = 0.05 * (values[-1] - values[0]) or 1
        axes.set_xlim(values[0] - pad, values[-1] + pad)
    ticks = _apart(axes, values)
    in_ticks = unit in ("bytes", "ns", "")
    labels = [show_value(tick, unit if in_ticks else "") for tick in ticks]
    axes.set_xticks(ticks, labels, rotation=45, ha="right")
    axes.tick_params("x", labelsize="small")
    axes.minorticks_off()
    axes.set_xlabel(name if in_ticks else f"{name} ({unit})")


def parameter_scale(values: Sequence[float]) -> str:
    """`linear`, `log` or, with zero among values that span much, `symlog`; values rise."""
    steps = np.diff(np.asarray(values, float))
    positive = [value for value in values if value > 0]
    if values[0] < 0 or not positive or np.allclose(steps, steps[:1], rtol=1e-3):
        return "linear"
    if values[0] == 0:
        return "symlog" if positive[-1] >= WIDE * positive[0] or _geometric(positive) else "linear"
    return "log" if positive[-1] >= WIDE * positive[0] or _geometric(positive) else "linear"


def _geometric(values: Sequence[float]) -> bool:
    factors = np.asarray(values[1:], float) / np.asarray(values[:-1], float)
    return len(factors) > 1 and bool(np.allclose(factors, factors[:1], rtol=0.05))


def _apart(axes: Axes, values: Sequence[float]) -> list[float]:
    """The values whose labels do not touch: every second or third of many."""
    to_screen = axes.transData + axes.transAxes.inverted()
    places = [float(to_screen.transform((value, 0))[0]) for value in values]
    ticks: list[float] = []
    last = -math.inf
    for value, place in zip(values, places, strict=True):
        if place - last >= _CLOSEST_TICKS:
            ticks.append(value)
            last = place
    return ticks


def _finite(values: Iterable[float]) -> list[float]:
    return [float(value) for value in values if math.isfinite(value)]
