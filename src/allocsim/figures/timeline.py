"""Memory over time: what the program holds, what is resident, what is mapped."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from seaborn import color_palette

from allocsim.experiment.summary import ALL_ALIKE, LEAST_BOTH, LEAST_CPU, LEAST_MEMORY, Setting
from allocsim.figures.style import bytes_axis, grid_of_axes, legend_beside
from allocsim.figures.view import View

_PALETTE = color_palette("colorblind", 10)
_LIVE, _RESIDENT, _MAPPED = "0.8", _PALETTE[0], _PALETTE[3]
_MAPPED_LINE = (0, (4, 1.5))


def draw_timeline(view: View) -> Figure:
    """A row per workload, a column per policy: the first seed's run, over the operations.

    Of a swept policy there are the settings with least CPU and with least memory. All panels of a
    row share their scale, so that heights can be compared.
    """
    columns = _columns(view)
    figure, axes = grid_of_axes(
        len(view.workloads), len(columns), width=1.95, height=1.75, sharex="row", sharey="row"
    )
    for row, workload in zip(axes, view.workloads, strict=True):
        shown = {(s.label, reason): (s, reason) for s, reason in view.shown(workload)}
        for panel, column in zip(row, columns, strict=True):
            others = [(column[0], reason) for reason in (LEAST_BOTH, ALL_ALIKE)]
            found = next(shown[each] for each in (column, *others) if each in shown)
            _draw_panel(panel, view, *found)
        row[0].set_ylim(0, max(panel.dataLim.y1 for panel in row) * 1.08)
        bytes_axis(row[0].yaxis, 4)
        row[0].set_ylabel(workload, fontweight="bold")
    for panel, (label, reason) in zip(axes[0], columns, strict=True):
        header = f"{label}\n({reason})" if reason else label
        panel.set_title(header, fontsize="small", pad=14)
    figure.supxlabel("operations (thousands)", fontsize="medium")
    figure.align_ylabels(axes[:, 0])
    legend_beside(figure, _legend())
    return figure


def _columns(view: View) -> list[tuple[str, str]]:
    """Policies in order; a swept one twice, once for each reason to show a setting of it."""
    swept = {s.label for s in view.settings if view.varied(s)}
    columns = []
    for label in view.looks:
        reasons = (LEAST_CPU, LEAST_MEMORY) if label in swept else ("",)
        columns += [(label, reason) for reason in reasons]
    return columns


def _draw_panel(axes: Axes, view: View, setting: Setting, reason: str) -> None:
    samples = view.results.stored(setting.rows[0]).table("samples")
    x = samples["op"] / 1e3
    axes.fill_between(x, samples["live_bytes"].astype(float), color=_LIVE, lw=0)
    axes.plot(x, samples["mapped_bytes"], color=_MAPPED, ls=_MAPPED_LINE, lw=1.2)
    axes.plot(x, samples["resident_bytes"], color=_RESIDENT, lw=1.2)
    axes.set_xlim(0, float(np.max(x)))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    told = reason if reason == ALL_ALIKE else view.varied(setting)
    axes.annotate(told, (0.5, 1.03), xycoords="axes fraction", ha="center", fontsize=7)


def _legend() -> list[Any]:
    return [
        Line2D([], [], color=_MAPPED, ls=_MAPPED_LINE, lw=1.2, label="mapped"),
        Line2D([], [], color=_RESIDENT, lw=1.2, label="resident"),
        Patch(facecolor=_LIVE, label="live (requested)"),
    ]
