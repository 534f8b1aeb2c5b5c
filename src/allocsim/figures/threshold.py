"""Cost, memory, fragmentation and faults against a swept parameter, with confidence bands."""

from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, PercentFormatter, StrMethodFormatter

from allocsim.display_units import show_bytes, show_ns
from allocsim.experiment.statistics import Interval
from allocsim.experiment.summary import Curve, Setting, curves_of
from allocsim.figures.axes import bytes_axis, from_zero, log_if_wide, parameter_axis
from allocsim.figures.style import (
    Look,
    grid_of_axes,
    legend_beside,
    note_below,
    note_inside,
    shades,
)
from allocsim.figures.view import View, by_label

METRICS = {
    "cpu_ns": "CPU time (ms)",
    "resident_mean_bytes": "mean resident\nmemory",
    "external_fragmentation": "external\nfragmentation",
    "minor_faults": "page faults",
}
OFF_SCALE = 3
"""A level line this many times above the curves would flatten them: its value is written there."""
MOST_CURVES = 8
"""Curves of one policy in a panel that can still be told apart."""


def swept_parameters(view: View) -> list[str]:
    """The parameters over which there is a curve."""
    return sorted({curve.parameter for curve in curves_of(view.settings)})


@dataclass(frozen=True)
class _Family:
    """The curves of one policy over one parameter, one for each setting of its other parameters.

    names: by the other parameters' values; only the drawn ones have looks.
    """

    label: str
    names: dict[str, str]
    looks: dict[str, Look]


def draw_sweep(view: View, parameter: str) -> Figure:
    """A column per workload, a row per metric; policies that were not swept are level lines.

    Where a second parameter was swept too, each of its values has a curve and a line of the legend.
    """
    curves = [curve for curve in curves_of(view.settings) if curve.parameter == parameter]
    families = {label: _family(view, label, curves) for label in {c.label: None for c in curves}}
    values = sorted({value for curve in curves for value in curve.x})
    figure, axes = grid_of_axes(
        len(METRICS), len(view.workloads), width=2.5, height=1.75, sharex=True
    )
    levels: set[str] = set()
    for column, workload in zip(axes.T, view.workloads, strict=True):
        own = [curve for curve in curves if curve.workload == workload]
        level = _level(view.settings_of(workload), set(families))
        levels |= level.keys()
        for panel, metric in zip(column, METRICS, strict=True):
            _draw_panel(panel, view, own, families, level, metric)
        column[0].set_title(fill(view.name(workload), 24))
        parameter_axis(column[-1], values, view.name(parameter), view.unit(parameter))
    for row, words in zip(axes, METRICS.values(), strict=True):
        row[0].set_ylabel(words)
    figure.align_ylabels(axes[:, 0])
    legend_beside(figure, _legend(view, families, levels))
    note_below(figure, _left_out(view, families, levels))
    return figure


def _family(view: View, label: str, curves: list[Curve]) -> _Family:
    """The curves of a policy, with names that tell them apart; of many the evenly spaced ones."""
    others = {_key(c): c.others for c in curves if c.label == label}
    keys = sorted(others, key=lambda key: list(others[key].values()))
    varied = [
        name for name in others[keys[0]] if len({each.get(name) for each in others.values()}) > 1
    ]
    names = {
        key: ", ".join(
            view.parameter(name, others[key][name]) for name in varied if name in others[key]
        )
        for key in keys
    }
    places = np.unique(np.linspace(0, len(keys) - 1, MOST_CURVES).round().astype(int))
    drawn = [keys[i] for i in places]
    return _Family(
        label, names, dict(zip(drawn, shades(view.looks[label], len(drawn)), strict=True))
    )


def _key(curve: Curve) -> str:
    return repr(sorted(curve.others.items()))


def _level(settings: list[Setting], swept: set[str]) -> dict[str, Setting]:
    """The policies with one setting only."""
    groups = by_label(settings).items()
    return {label: group[0] for label, group in groups if label not in swept and len(group) == 1}


def _draw_panel(
    axes: Axes,
    view: View,
    curves: list[Curve],
    families: dict[str, _Family],
    level: dict[str, Setting],
    metric: str,
) -> None:
    seen: list[float] = []
    undefined: list[Setting] = []
    for curve in curves:
        look = families[curve.label].looks.get(_key(curve))
        band = 0.25 / len(families[curve.label].looks)
        drawn = _draw_curve(axes, curve, metric, look, band) if look else []
        seen += drawn
        if look and not drawn:
            undefined.append(curve.settings[0])
    top = OFF_SCALE * max(seen, default=np.inf)
    beyond = []
    for label, setting in level.items():
        interval = setting.interval(metric)
        if not np.isfinite(interval.mean):
            undefined.append(setting)
        elif interval.mean > top:
            beyond.append(f"▲ {view.name(label)} {_plainly(metric, interval.mean)}")
        else:
            _draw_level(axes, interval, view.looks[label])
            seen.append(interval.high)
    beyond += _undefined(view, undefined)
    note_inside(axes, beyond)
    _scale(axes, metric, seen, len(beyond))


def _undefined(view: View, settings: list[Setting]) -> list[str]:
    """Which policies a metric is not defined for, and why."""
    reasons: dict[str, dict[str, None]] = {}
    for setting in settings:
        row = setting.rows[0]
        unseen = np.isnan(row.get("internal_fragmentation", 0)) and row.get("live_peak_bytes", 1)
        reason = "walk() reports nothing" if unseen else "nothing free"
        reasons.setdefault(reason, {})[setting.label] = None
    return [f"{reason}: {view.listed(labels)}" for reason, labels in reasons.items()]


def _draw_curve(axes: Axes, curve: Curve, metric: str, look: Look, alpha: float) -> list[float]:
    """A curve with its band, of opacity `alpha`; the finite values drawn."""
    intervals = [setting.interval(metric) for setting in curve.settings]
    low, high = [i.low for i in intervals], [i.high for i in intervals]
    axes.fill_between(curve.x, low, high, color=look.colour, alpha=alpha, lw=0)
    means = [interval.mean for interval in intervals]
    axes.plot(curve.x, means, color=look.colour, marker=look.marker, ms=3.5, lw=1.3)
    return [value for value in (*low, *high) if np.isfinite(value)]


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
    if not log_if_wide(axes.yaxis, values):
        from_zero(axes.yaxis, values, 1.12 + 0.13 * notes)
    if metric.endswith("_bytes"):
        bytes_axis(axes.yaxis)
    else:
        axes.yaxis.set_major_formatter(_FORMATS[metric])


_FORMATS: dict[str, Any] = {
    "cpu_ns": FuncFormatter(lambda value, _: f"{value / 1e6:g}"),
    "minor_faults": StrMethodFormatter("{x:,.0f}"),
}


def _legend(view: View, families: dict[str, _Family], levels: set[str]) -> list[Line2D]:
    """A line for each policy; of one with several curves its name, and below it one for each."""
    handles = []
    for label in view.labels:
        if label in families:
            handles += _family_legend(view, families[label])
        elif label in levels:
            look = view.looks[label]
            handles.append(
                Line2D([], [], color=look.colour, lw=1.3, ls=look.line, label=view.name(label))
            )
    return handles


def _family_legend(view: View, family: _Family) -> list[Line2D]:
    several = len(family.names) > 1
    handles = [Line2D([], [], ls="", label=view.name(family.label))] if several else []
    for key, look in family.looks.items():
        name = family.names[key] if several else view.name(family.label)
        handles.append(
            Line2D([], [], color=look.colour, lw=1.3, marker=look.marker, ms=4, label=name)
        )
    return handles


def _left_out(view: View, families: dict[str, _Family], levels: set[str]) -> list[str]:
    """What the figure does not show, and why."""
    lines = view.failed()
    rest = [label for label in view.labels if label not in families and label not in levels]
    if rest:
        lines.append(f"Not drawn, since other parameters were swept: {view.listed(rest)}")
    for family in families.values():
        if len(family.looks) < len(family.names):
            few, all_ = len(family.looks), len(family.names)
            lines.append(f"{view.name(family.label)}: {few} of {all_} curves drawn")
    return lines
