"""Memory over time: what the program holds, what is resident, what is mapped."""

from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from allocsim.display_units import show_bytes
from allocsim.experiment.summary import ALL_ALIKE, LEAST_BOTH, LEAST_CPU, LEAST_MEMORY, Setting
from allocsim.figures.axes import bytes_axis, from_zero
from allocsim.figures.style import PALETTE, grid_of_axes, legend_beside, note_below, note_inside
from allocsim.figures.view import View

_LIVE, _RESIDENT, _MAPPED = "0.8", PALETTE[0], PALETTE[3]
_MAPPED_LINE = (0, (4, 1.5))
_FAR = 2.5
"""What lies this many times above resident memory would flatten it: its peak is written instead."""
_WIDEST_TITLE, _WIDEST_SIDE = 20, 14
"""Characters in a line above and beside a panel."""
Samples = dict[str, np.ndarray]


def draw_timeline(view: View) -> Figure:
    """A row per workload, a column per policy: the first seed's run, over the operations.

    Of a swept policy there are the settings with least CPU and with least memory. All panels of a
    row share their scale, which is that of resident memory, so that heights can be compared.
    """
    columns = _columns(view)
    figure, axes = grid_of_axes(
        len(view.workloads), len(columns), width=1.95, height=1.75, sharex="row", sharey="row"
    )
    for row, workload in zip(axes, view.workloads, strict=True):
        _draw_row(row, view, workload, columns)
    above = max(text.get_text().count("\n") + 1 for panel in axes[0] for text in panel.texts)
    for panel, (label, reason) in zip(axes[0], columns, strict=True):
        header = fill(view.name(label), _WIDEST_TITLE)
        panel.set_title(
            f"{header}\n({reason})" if reason else header, fontsize="small", pad=4 + 10 * above
        )
    for panel in axes[-1]:
        panel.set_xlabel("operations (thousands)", fontsize=8)
    figure.align_ylabels(axes[:, 0])
    legend_beside(figure, _legend())
    note_below(figure, view.failed())
    return figure


def _draw_row(row: Any, view: View, workload: str, columns: list[tuple[str, str]]) -> None:
    shown = {(s.label, reason): (s, reason) for s, reason in view.shown(workload)}
    samples: dict[int, Samples] = {}
    for i, (label, reason) in enumerate(columns):
        keys = [(label, each) for each in (reason, LEAST_BOTH, ALL_ALIKE, "")]
        found = next((shown[key] for key in keys if key in shown), None)
        if found is None:
            note_inside(row[i], ["no results"])
            continue
        samples[i] = view.results.stored(found[0].rows[0]).table("samples")
        _head(row[i], view, *found)
    top = max(_peak(each, "resident_bytes") for each in samples.values())
    top = max(top, *(p for p in _peaks(samples, "live_bytes") if p <= _FAR * top or not top))
    heights = [p for p in _peaks(samples, "mapped_bytes") if p <= _FAR * top]
    for i, each in samples.items():
        _draw_panel(row[i], each, _FAR * top)
    noted = len(heights) < len(samples)
    from_zero(row[0].yaxis, [top, *heights], 1.25 if noted else 1.08)
    from_zero(row[0].xaxis, [_peak(each, "op") / 1e3 for each in samples.values()], 1.0)
    bytes_axis(row[0].yaxis, 4)
    row[0].set_ylabel(fill(view.name(workload), _WIDEST_SIDE), fontweight="bold")


def _peaks(samples: dict[int, Samples], column: str) -> list[float]:
    return [_peak(each, column) for each in samples.values()]


def _peak(samples: Samples, column: str) -> float:
    return float(max(samples[column], default=0))


def _columns(view: View) -> list[tuple[str, str]]:
    """Policies in order; a swept one twice, once for each reason to show a setting of it."""
    swept = {s.label for s in view.settings if view.varied(s)}
    columns = []
    for label in view.labels:
        reasons = (LEAST_CPU, LEAST_MEMORY) if label in swept else ("",)
        columns += [(label, reason) for reason in reasons]
    return columns


def _head(axes: Axes, view: View, setting: Setting, reason: str) -> None:
    """The setting that a panel shows."""
    words = reason if reason == ALL_ALIKE else view.varied(setting)
    axes.annotate(words, (0.5, 1.03), xycoords="axes fraction", ha="center", fontsize=7)


def _draw_panel(axes: Axes, samples: Samples, highest: float) -> None:
    """Memory over operations; of what rises above `highest`, the peak in words."""
    x = samples["op"] / 1e3
    notes = []
    live, mapped = _peak(samples, "live_bytes"), _peak(samples, "mapped_bytes")
    if live <= highest:
        axes.fill_between(x, samples["live_bytes"].astype(float), color=_LIVE, lw=0)
    else:
        notes.append(f"live: {show_bytes(live)} at peak")
    if mapped <= highest:
        axes.plot(x, samples["mapped_bytes"], color=_MAPPED, ls=_MAPPED_LINE, lw=1.2)
    else:
        notes.append(f"mapped: {show_bytes(mapped)} at peak")
    axes.plot(x, samples["resident_bytes"], color=_RESIDENT, lw=1.2)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    note_inside(axes, notes)


def _legend() -> list[Any]:
    return [
        Line2D([], [], color=_MAPPED, ls=_MAPPED_LINE, lw=1.2, label="mapped"),
        Line2D([], [], color=_RESIDENT, lw=1.2, label="resident"),
        Patch(facecolor=_LIVE, label="live (requested)"),
    ]
