"""How all figures look: colours and markers by policy, units on axes, files that never vary.

Colours are seaborn's palette for colour-blind readers; since ten colours and grey prints are not
told apart by everybody, each policy also has a marker and a line style of its own.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    MultipleLocator,
    NullFormatter,
    NullLocator,
)

from allocsim.experiment.units import show_bytes
from allocsim.outputs import AtomicFile, cannot_write

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
LINES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
GREY = "0.35"
_ORDER = (0, 1, 2, 4, 9, 3, 5, 7, 8, 6)
"""Colours of the palette such that the first few differ most."""

WIDE = 20
FORMATS = ("png", "svg", "pdf")
_UNDATED = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@dataclass(frozen=True)
class Look:
    """How one policy is drawn, in every figure."""

    colour: Any
    marker: str
    line: Any


def looks_for(labels: Iterable[str]) -> dict[str, Look]:
    """A look for each policy, in their order."""
    palette = seaborn.color_palette("colorblind", 10)
    return {
        label: Look(palette[_ORDER[i % 10]], MARKERS[i % len(MARKERS)], LINES[i % len(LINES)])
        for i, label in enumerate(labels)
    }


@contextmanager
def house_style() -> Iterator[None]:
    """Settings under which all figures are drawn and saved."""
    settings = seaborn.axes_style("ticks") | seaborn.plotting_context("paper", font_scale=1.05)
    settings |= {
        "axes.grid": True,
        "grid.color": "0.92",
        "grid.linewidth": 0.8,
        "axes.axisbelow": True,
        "axes.titlesize": "medium",
        "axes.titleweight": "bold",
        "legend.frameon": False,
        "savefig.dpi": 160,
        "svg.hashsalt": "allocsim",
    }
    with matplotlib.rc_context(settings):
        yield


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes a figure in each format; equal figures give equal files."""
    # Laying out takes longer than drawing: once is enough for all formats.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    files = [AtomicFile(folder / f"{name}.{suffix}") for suffix in FORMATS]
    for file, suffix in zip(files, FORMATS, strict=True):
        with file.writing():
            figure.savefig(file.temporary, format=suffix, metadata=_UNDATED[suffix])
        file.commit()
    return [file.path for file in files]


def grid_of_axes(
    rows: int, columns: int, *, width: float, height: float, **options: Any
) -> tuple[Figure, Any]:
    """A figure of `rows` x `columns` axes, each of about that size in inches, laid out to fit."""
    figure = Figure(figsize=(columns * width + 1.6, rows * height + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        seaborn.despine(ax=axis)
    return figure, axes


def bytes_axis(axis: Any, most_ticks: int = 5) -> None:
    """Ticks at round numbers of one binary unit, on a linear axis that starts at zero."""
    high = max(axis.get_view_interval())
    step = 2.0 ** math.ceil(math.log2(high / most_ticks))
    name, size = next((u for u in _UNITS if high >= u[1]), ("B", 1))
    axis.set_major_locator(MultipleLocator(step))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:g} {name}"))


_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def powers_of_two(axes: Axes, values: list[float], unit: str) -> None:
    """A logarithmic x axis with ticks at the values, at every second or third of many."""
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(values) / 1.3, max(values) * 1.3)
    ticks = values[:: -(-len(values) // 7)]
    show = show_bytes if unit == "bytes" else lambda value: f"{value:g}"
    axes.set_xticks(ticks, [show(tick) for tick in ticks], rotation=45, ha="right")
    axes.tick_params("x", labelsize="small")
    axes.minorticks_off()


def legend_beside(figure: Figure, handles: list[Any], title: str | None = None) -> None:
    """A legend to the right of all axes, where it covers no data."""
    figure.legend(
        handles=handles, loc="outside right upper", title=title, alignment="left", fontsize="small"
    )


def log_if_wide(axis: Any, values: Iterable[float]) -> None:
    """A logarithmic axis where positive values span more than a factor of `WIDE`."""
    values = list(values)
    if values and min(values) > 0 and max(values) > WIDE * min(values):
        log_axis(axis, values)


def log_axis(axis: Any, values: Iterable[float]) -> None:
    """A logarithmic axis with plain numbers at its ticks, several of them however short it is.

    The axis stays linear where a value has no logarithm: a run without ops costs nothing.
    """
    values = list(values)
    if not all(value > 0 for value in values):
        return
    scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    scale("log")
    span = max(values) / min(values)
    if span < 4:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if span < 300 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
