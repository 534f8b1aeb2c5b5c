"""Real allocators and simulated policies on one workload: time against memory, and memory over ops.

Real ones are filled points and solid lines, simulated ones hollow points and dashed lines.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from allocsim.figures.axes import bytes_axis, from_zero, log_if_wide
from allocsim.figures.style import (
    Look,
    figure_names,
    grid_of_axes,
    house_style,
    legend_beside,
    looks_for,
    save,
)
from allocsim.ground_truth.measurement.table import Column

MS = 1e6
REAL, SIMULATED = "-", (0, (4, 1.5))


def draw_measurement_files(title: str, columns: Sequence[Column], folder: Path) -> list[Path]:
    """Draw `columns` as measurement.png, .svg and .pdf in `folder`; returns the files."""
    with house_style():
        return save(draw_measurement(title, columns), folder, "measurement")


def draw_measurement(title: str, columns: Sequence[Column]) -> Figure:
    """CPU time (every byte written) against peak resident memory; resident memory over ops."""
    looks = looks_for(column.name for column in columns)
    figure, axes = grid_of_axes(1, 2, width=4.2, height=3.4)
    _draw_tradeoff(axes.flat[0], columns, looks)
    _draw_memory(axes.flat[1], columns, looks)
    names = figure_names([title, *looks])
    figure.suptitle(names[title])
    handles = [_handle(column, names[column.name], looks[column.name]) for column in columns]
    legend_beside(figure, handles)
    return figure


def _draw_tradeoff(axes: Axes, columns: Sequence[Column], looks: dict[str, Look]) -> None:
    for column in columns:
        look, cpu = looks[column.name], column.cpu_ns["fill"]
        axes.errorbar(
            cpu.value / MS,
            column.totals["resident_peak_bytes"],
            xerr=[[(cpu.value - cpu.low) / MS], [(cpu.high - cpu.value) / MS]],
            color=look.colour, marker=look.marker, ms=7, lw=1,
            mfc="white" if column.simulated else look.colour,
        )  # fmt: skip
    axes.set_title("time against memory")
    axes.set_xlabel("CPU time, every byte written (ms)")
    axes.set_ylabel("peak resident memory")
    axes.margins(0.15)
    from_zero(axes.yaxis, [column.totals["resident_peak_bytes"] for column in columns])
    bytes_axis(axes.yaxis)
    if not log_if_wide(axes.xaxis, [column.cpu_ns["fill"].value / MS for column in columns]):
        from_zero(axes.xaxis, [column.cpu_ns["fill"].high / MS for column in columns])


def _draw_memory(axes: Axes, columns: Sequence[Column], looks: dict[str, Look]) -> None:
    for column in columns:
        axes.plot(
            column.samples["op"],
            column.samples["resident_bytes"],
            color=looks[column.name].colour,
            ls=SIMULATED if column.simulated else REAL,
            lw=1.4,
        )
    axes.set_title("memory over the run")
    axes.set_xlabel("operations done")
    axes.set_ylabel("resident memory")
    axes.ticklabel_format(axis="x", style="plain")
    from_zero(axes.xaxis, [op for column in columns for op in column.samples["op"][-1:]], 1.0)
    from_zero(axes.yaxis, [b for column in columns for b in column.samples["resident_bytes"]])
    bytes_axis(axes.yaxis)


def _handle(column: Column, name: str, look: Look) -> Line2D:
    return Line2D(
        [], [], color=look.colour, marker=look.marker, label=name,
        mfc="white" if column.simulated else look.colour,
        ls=SIMULATED if column.simulated else REAL,
    )  # fmt: skip
