"""Cost, memory, fragmentation and faults against a swept parameter, with confidence bands."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, PercentFormatter, StrMethodFormatter

from allocsim.experiment.statistics import Interval
from allocsim.experiment.summary import Curve, Setting, curves_of
from allocsim.experiment.units import show_bytes, show_ns
from allocsim.figures.style import (
    GREY,
    WIDE,
    Look,
    bytes_axis,
    grid_of_axes,
    legend_beside,
    log_if_wide,
    powers_of_two,
)
from allocsim.figures.view import View, by_label

METRICS = {
    "cpu_ns": "CPU time (ms)",
    "resident_mean_bytes": "mean resident\nmemory",
    "external_fragmentation": "external\nfragmentation",
    "minor_faults": "page faults",
}


OFF_SCALE = 3
"""A level line this many times above the curves would flatten them: it is told in words instead."""


def swept_parameters(view: View) -> list[str]:
    """The parameters over which there is a curve."""
    return sorted({curve.parameter for curve in curves_of(view.settings)})


def draw_sweep(view: View, parameter: str) -> Figure:
    """A column per workload, a row per metric; policies that were not swept are level lines."""
    curves = [curve for curve in curves_of(view.settings) if curve.parameter == parameter]
    values = sorted({value for curve in curves for value in curve.x})
    figure, axes = grid_of_axes(
        len(METRICS), len(view.workloads), width=2.5, height=1.75, sharex=True
    )
    for column, workload in enumerate(view.workloads):
        own = [curve for curve in curves if curve.workload == workload]
        level = _level(view.settings_of(workload), {curve.label for curve in own})
        for row, metric in enumerate(METRICS):
            _draw_panel(axes[row][column], view, own, level, metric)
        axes[0][column].set_title(workload)
        axes[-1][column].set_xlabel(parameter)
        powers_of_two(axes[-1][column], values, view.unit(parameter))
    for row, words in enumerate(METRICS.values()):
        axes[row][0].set_ylabel(words)
    figure.align_ylabels(axes[:, 0])
    legend_beside(figure, _legend(view, {curve.label for curve in curves}))
    return figure


def _level(settings: list[Setting], swept: set[str]) -> dict[str, Setting]:
    """The policies with one setting only."""
    groups = by_label(settings).items()
    return {label: group[0] for label, group in groups if label not in swept and len(group) == 1}


def _draw_panel(
    axes: Axes, view: View, curves: list[Curve], level: dict[str, Setting], metric: str
) -> None:
    seen: list[float] = []
    for curve in curves:
        look = view.looks[curve.label]
        intervals = [setting.interval(metric) for setting in curve.settings]
        means = [interval.mean for interval in intervals]
        low, high = [i.low for i in intervals], [i.high for i in intervals]
        axes.fill_between(curve.x, low, high, color=look.colour, alpha=0.25, lw=0)
        axes.plot(curve.x, means, color=look.colour, marker=look.marker, ms=3.5, lw=1.3)
        seen += [*low, *high]
    top = OFF_SCALE * max((value for value in seen if np.isfinite(value)), default=np.inf)
    beyond = []
    for label, setting in level.items():
        interval = setting.interval(metric)
        if interval.mean > top:
            beyond.append(f"▲ {label} {_plainly(metric, interval.mean)}")
        elif np.isfinite(interval.mean):
            _draw_level(axes, interval, view.looks[label])
            seen.append(interval.high)
    axes.annotate(
        "\n".join(beyond), (1, 0.97), xycoords="axes fraction", ha="right", va="top", fontsize=7
    )
    finite = [value for value in seen if np.isfinite(value)]
    if not finite:
        axes.annotate("none defined", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY)
    _scale(axes, metric, finite, len(beyond))


def _draw_level(axes: Axes, interval: Interval, look: Look) -> None:
    axes.axhspan(interval.low, interval.high, color=look.colour, alpha=0.12, lw=0)
    axes.axhline(interval.mean, color=look.colour, ls=look.line, lw=1.2, zorder=1.5)


def _plainly(metric: str, value: float) -> str:
    """A value with its unit, for policies that lie above the panel."""
    if metric.endswith("_ns"):
        return show_ns(value)
    return show_bytes(value) if metric.endswith("_bytes") else f"{value:,.0f}"


def _scale(axes: Axes, metric: str, values: list[float], notes: int) -> None:
    """Units on the y axis, from zero where it is linear, with room above for lines of notes."""
    if metric == "external_fragmentation":
        axes.set_ylim(0, 1.05)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        return
    if values and max(values) > WIDE * min(values) > 0:
        log_if_wide(axes.yaxis, values)
    else:
        axes.set_ylim(0, max(values, default=1) * (1.12 + 0.13 * notes))
    if metric.endswith("_bytes"):
        bytes_axis(axes.yaxis)
    else:
        axes.yaxis.set_major_formatter(_FORMATS[metric])


_FORMATS: dict[str, Any] = {
    "cpu_ns": FuncFormatter(lambda value, _: f"{value / 1e6:g}"),
    "minor_faults": StrMethodFormatter("{x:,.0f}"),
}


def _legend(view: View, swept: set[str]) -> list[Line2D]:
    handles = []
    for label, look in view.looks.items():
        style: dict[str, Any] = {"ls": look.line}
        if label in swept:
            style = {"ls": "-", "marker": look.marker, "ms": 4}
        handles.append(Line2D([], [], color=look.colour, lw=1.3, label=label, **style))
    return handles
