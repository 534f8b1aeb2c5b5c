"""Resident overhead against CPU cost: which policy buys memory with time, and which wastes both.

The overhead is the peak of resident memory over the peak of live memory: what a machine must have
for each byte that the program asks for. It is below 1 where the program leaves much untouched.
"""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from allocsim.experiment.summary import Setting, varied_parameters
from allocsim.figures.axes import log_axis
from allocsim.figures.style import (
    GREY,
    Look,
    grid_of_axes,
    legend_beside,
    note_below,
    note_inside,
)
from allocsim.figures.view import View, by_label

X, Y = "cpu_ns", "jw4"


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that none beats in both coordinates, from left to right.

    Of equal points the first is kept; points with nan belong to no front.
    """
    order = sorted(range(len(points)), key=lambda i: (*points[i], i))
    front: list[int] = []
    lowest = np.inf
    for i in order:
        if points[i][1] < lowest and np.isfinite(points[i][0]):
            front.append(i)
            lowest = points[i][1]
    return front


def draw_tradeoff(view: View) -> Figure:
    """A panel per workload; of a swept policy small points, joined where one parameter varies."""
    columns = min(2, len(view.workloads))
    rows = -(-len(view.workloads) // columns)
    figure, axes = grid_of_axes(rows, columns, width=3.9, height=3.1)
    for panel, workload in zip(axes.flat, view.workloads, strict=False):
        _draw_panel(panel, view, workload)
    for panel in axes.flat[len(view.workloads) :]:
        panel.set_visible(False)
    legend_beside(figure, _legend(view))
    note_below(figure, view.failed())
    return figure


def _draw_panel(axes: Axes, view: View, workload: str) -> None:
    settings = [s for s in view.settings_of(workload) if np.isfinite(_point(s)).all()]
    points = [_point(setting) for setting in settings]
    ends = {id(setting) for setting, reason in view.shown(workload) if reason}
    for label, group in by_label(settings).items():
        _draw_policy(axes, view, group, view.looks[label], ends)
    front = np.array([points[i] for i in pareto_front(points)]).reshape(-1, 2)
    x, y = front[:, 0], front[:, 1]
    axes.step(x, y, where="post", color=GREY, lw=1, ls=(0, (4, 2)), zorder=1)
    axes.scatter(x, y, 110, facecolors="none", edgecolors=GREY, zorder=4)
    log_axis(axes.xaxis, [x for x, _ in points])
    log_axis(axes.yaxis, [y for _, y in points])
    axes.margins(0.12)
    _note_absent(axes, view, workload, settings)
    axes.set_title(fill(view.name(workload), 30))
    axes.set_xlabel("CPU time of allocator and kernel (ms)")
    axes.set_ylabel("peak resident / peak live")


def _note_absent(axes: Axes, view: View, workload: str, drawn: list[Setting]) -> None:
    """Says which policies have no point, and why."""
    there = {setting.label for setting in view.settings_of(workload)}
    undefined = there - {setting.label for setting in drawn}
    lost = [label for label in view.labels if label not in there]
    lines = [f"no results: {view.listed(lost)}"] if lost else []
    if not drawn:
        lines.append("nothing was live: no ratio")
    elif undefined:
        lines.append(f"no ratio: {view.listed(sorted(undefined))}")
    note_inside(axes, lines)


def _point(setting: Setting) -> tuple[float, float]:
    return _x(setting.mean(X)), _y(setting.mean(Y))


def _x(cpu_ns: float) -> float:
    return cpu_ns / 1e6


def _y(overhead: float) -> float:
    return 1 + overhead


def _draw_policy(axes: Axes, view: View, group: list[Setting], look: Look, best: set[int]) -> None:
    """The points of a policy; with names at the ends of a line, or else at the best settings."""
    x, y = zip(*map(_point, group), strict=True)
    swept = len(group) > 1
    if swept:
        ends = [0, len(group) - 1]
        if len(varied_parameters(group, group[0].label)) == 1:
            axes.plot(x, y, color=look.colour, lw=1, alpha=0.6, zorder=2)
        else:
            ends = [i for i, setting in enumerate(group) if id(setting) in best][:2]
        for end, place in zip(ends, ((5, 5), (-4, -13)), strict=False):
            _tell(axes, view.varied(group[end]), (x[end], y[end]), place)
    else:
        _draw_error(axes, group[0], look)
    size = 18 if swept else 55
    axes.scatter(x, y, s=size, color=[look.colour], marker=look.marker, zorder=3)


def _tell(axes: Axes, words: str, point: tuple[float, float], place: tuple[int, int]) -> None:
    text = axes.annotate(words, point, place, textcoords="offset points", fontsize=7, color=GREY)
    text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    text.set_zorder(5)


def _draw_error(axes: Axes, setting: Setting, look: Look) -> None:
    x, y = setting.interval(X), setting.interval(Y)
    bars = {"color": look.colour, "lw": 1, "zorder": 2}
    axes.plot([_x(x.low), _x(x.high)], [_y(y.mean)] * 2, **bars)
    axes.plot([_x(x.mean)] * 2, [_y(y.low), _y(y.high)], **bars)


def _legend(view: View) -> list[Any]:
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, ls="", ms=6, label=view.name(label))
        for label, look in ((label, view.looks[label]) for label in view.labels)
    ]
    front = Line2D(
        [], [], color=GREY, lw=1, ls=(0, (4, 2)), marker="o", mfc="none", ms=9, label="Pareto front"
    )
    return [*handles, front]
