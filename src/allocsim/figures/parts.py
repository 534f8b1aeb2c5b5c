"""CPU time by part, as stacked bars: where the time goes under each policy."""

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from allocsim.experiment.summary import ALL_ALIKE, Setting
from allocsim.experiment.units import show_ns
from allocsim.figures.style import grid_of_axes, legend_beside
from allocsim.figures.view import View

PARTS = {
    "allocator_ns": ("allocator's own work", ""),
    "syscall_ns": ("system calls", "////"),
    "fault_ns": ("page faults", "...."),
    "zeroing_ns": ("zeroing pages", "xxxx"),
    "copying_ns": ("copying", "----"),
}


def draw_parts(view: View) -> Figure:
    """A panel per workload; of a swept policy the settings with least CPU and least memory."""
    chosen = {w: view.shown(w) for w in view.workloads}
    bars = max(len(settings) for settings in chosen.values())
    columns = min(2, len(chosen))
    rows = -(-len(chosen) // columns)
    figure, axes = grid_of_axes(rows, columns, width=4.9, height=0.8 + 0.36 * bars)
    for panel, (workload, settings) in zip(axes.flat, chosen.items(), strict=False):
        names = [_name(view, *chosen_one) for chosen_one in settings]
        _draw_panel(panel, [setting for setting, _ in settings], names)
        panel.set_title(workload)
    for panel in axes.flat[len(chosen) :]:
        panel.set_visible(False)
    legend_beside(figure, _legend())
    return figure


def _name(view: View, setting: Setting, reason: str) -> str:
    """The policy, and of a swept one the setting and why it is shown."""
    varied = view.varied(setting)
    if reason == ALL_ALIKE:
        return f"{setting.label}\n({reason})"
    return f"{setting.label}, {varied}\n({reason})" if reason else setting.label


def _draw_panel(axes: Axes, settings: list[Setting], names: list[str]) -> None:
    left = np.zeros(len(settings))
    rows = np.arange(len(settings))
    for part, (_, hatch) in PARTS.items():
        widths = np.array([setting.mean(part) for setting in settings])
        colour = _colour(part)
        axes.barh(
            rows, widths, 0.72, left=left, color=colour, hatch=hatch, edgecolor="white", lw=0.4
        )
        left += widths
    for row, total in zip(rows, left, strict=True):
        axes.annotate(
            show_ns(total),
            (total, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlim(0, left.max() * 1.18)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:g}"))
    axes.set_xlabel("CPU time (ms)")


def _colour(part: str) -> tuple[float, float, float]:
    return seaborn.color_palette("colorblind", len(PARTS))[list(PARTS).index(part)]


def _legend() -> list[Patch]:
    return [
        Patch(facecolor=_colour(part), hatch=hatch, edgecolor="white", label=words)
        for part, (words, hatch) in PARTS.items()
    ]
