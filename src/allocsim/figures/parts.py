"""CPU time by part, as stacked bars: where the time goes under each policy."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, PercentFormatter

from allocsim.display_units import show_ns
from allocsim.experiment.summary import ALL_ALIKE, Setting
from allocsim.figures.axes import from_zero
from allocsim.figures.style import PALETTE, grid_of_axes, legend_beside, note_below
from allocsim.figures.view import View

PARTS = {
    "allocator_ns": ("allocator's own work", ""),
    "syscall_ns": ("system calls", "////"),
    "fault_ns": ("page faults", "...."),
    "zeroing_ns": ("zeroing pages", "xxxx"),
    "copying_ns": ("copying", "----"),
}


def draw_parts(view: View) -> Figure:
    """A row per workload: the time on the left, and on the right what it consists of.

    Of a swept policy there are the settings with least CPU and with least memory.
    """
    chosen = {workload: view.shown(workload) for workload in view.workloads}
    names = {workload: [_name(view, *each) for each in shown] for workload, shown in chosen.items()}
    rows = max(map(len, names.values()))
    lines = max(2, *(name.count("\n") + 1 for each in names.values() for name in each))
    figure, axes = grid_of_axes(len(chosen), 2, width=3.9, height=0.7 + 0.17 * lines * rows)
    for (left, right), (workload, shown) in zip(axes, chosen.items(), strict=True):
        settings = [setting for setting, _ in shown]
        totals = np.array([sum(setting.mean(part) for part in PARTS) for setting in settings])
        _draw_bars(left, settings, np.ones(len(settings)))
        _draw_bars(right, settings, np.where(totals > 0, totals, 1))
        _label_rows(left, names[workload], totals)
        left.set_title(view.name(workload), loc="left")
        right.set_yticks([])
        right.set_xlim(0, 1)
        right.xaxis.set_major_formatter(PercentFormatter(1))
    axes[-1][0].set_xlabel("CPU time (ms)")
    axes[-1][1].set_xlabel("share of CPU time")
    legend_beside(figure, _legend())
    note_below(figure, view.failed())
    return figure


def _name(view: View, setting: Setting, reason: str) -> str:
    """The policy, and of a swept one the setting and why it is shown."""
    label = view.name(setting.label)
    if reason in ("", ALL_ALIKE):
        return f"{label}\n({reason})" if reason else label
    varied = view.varied(setting)
    separator = "\n" if "\n" in varied else ", "
    return f"{label}{separator}{varied}\n({reason})"


def _draw_bars(axes: Axes, settings: list[Setting], units: np.ndarray) -> None:
    """A stacked bar for each setting, in the given units of nanoseconds."""
    left = np.zeros(len(settings))
    rows = np.arange(len(settings))
    for part, (_, hatch) in PARTS.items():
        widths = np.array([setting.mean(part) for setting in settings]) / units
        axes.barh(
            rows,
            widths,
            0.72,
            left=left,
            color=_colour(part),
            hatch=hatch,
            edgecolor="white",
            lw=0.4,
        )
        left += widths
    axes.invert_yaxis()
    axes.grid(False, axis="y")


def _label_rows(axes: Axes, names: list[str], totals: np.ndarray) -> None:
    """Names on the left of the bars, times on their right, and room for these."""
    for row, total in enumerate(totals):
        at = (total, row)
        axes.annotate(
            show_ns(total), at, (4, 0), textcoords="offset points", va="center", fontsize="small"
        )
    axes.set_yticks(range(len(names)), names)
    from_zero(axes.xaxis, totals, 1.25)
    steps = MaxNLocator(5, steps=[1, 2, 5, 10]) if totals.any() else FixedLocator([0])
    axes.xaxis.set_major_locator(steps)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:g}"))


def _colour(part: str) -> str:
    return PALETTE[list(PARTS).index(part)]


def _legend() -> list[Patch]:
    return [
        Patch(facecolor=_colour(part), hatch=hatch, edgecolor="white", label=words)
        for part, (words, hatch) in PARTS.items()
    ]
