"""Predicted against measured: a point for each trace and setting, near the line if all is well."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from allocsim.figures.axes import log_axis
from allocsim.figures.style import (
    GREY,
    Look,
    figure_names,
    grid_of_axes,
    house_style,
    legend_beside,
    looks_for,
    note_inside,
    save,
)
from allocsim.ground_truth.measurement import Band
from allocsim.ground_truth.validation.comparison import Comparison
from allocsim.ground_truth.validation.validate import Validation

MS, MIB = 1e6, 2.0**20
PANELS = (
    ("cpu_ns.fill", "CPU time, every byte written", "ms", MS),
    ("cpu_ns.none", "CPU time, nothing written", "ms", MS),
    ("resident_mean_bytes", "mean resident memory", "MiB", MIB),
)
TOLERANCE = 0.15
"""The grey band around the line: as far off as a prediction may be."""
DEFAULT = "default"


def draw_validation_files(found: Validation, folder: Path) -> list[Path]:
    """Draw `found` as validation.png, .svg and .pdf in `folder`; returns the files."""
    with house_style():
        return save(draw_validation(found), folder, "validation")


def draw_validation(found: Validation) -> Figure:
    """A panel for each figure; settings differ in colour and marker."""
    looks = looks_for(dict.fromkeys(_name(case) for case in found.comparisons))
    names = figure_names([found.allocator, found.policy, *looks])
    figure, axes = grid_of_axes(1, len(PANELS), width=3.9, height=3.2)
    for panel, (name, title, unit, scale) in zip(axes.flat, PANELS, strict=True):
        _draw_panel(panel, found.comparisons, name, scale, looks)
        panel.set_title(title)
        panel.set_xlabel(f"measured: {names[found.allocator]} ({unit})")
        panel.set_ylabel(f"predicted: {names[found.policy]} ({unit})")
    legend_beside(figure, _legend({names[name]: look for name, look in looks.items()}), "setting")
    return figure


def _draw_panel(
    axes: Axes,
    cases: Sequence[Comparison],
    name: str,
    scale: float,
    looks: dict[str, Look],
) -> None:
    # Settings that cost the same lie on each other: the later ones are smaller.
    sizes = {name: max(4.0, 8.5 - 1.5 * i) for i, name in enumerate(looks)}
    values: list[float] = []
    for case in cases:
        pair = case.pairs()[name]
        if pair.measured.value <= 0 or pair.predicted.value <= 0:
            continue  # nothing that a logarithmic axis could show
        look, size = looks[_name(case)], sizes[_name(case)]
        x, y = pair.measured.value / scale, pair.predicted.value / scale
        axes.errorbar(
            x, y,
            xerr=_bars(pair.measured, scale), yerr=_bars(pair.predicted, scale),
            color=look.colour, marker=look.marker, ms=size, mec="white", mew=0.6, lw=1, zorder=3,
        )  # fmt: skip
        values += [x, y]
    if values:
        _identity(axes, min(values) / 1.5, max(values) * 1.5)
    else:
        note_inside(axes, ["nothing above zero, measured and predicted"])


def _name(case: Comparison) -> str:
    return case.setting or DEFAULT


def _bars(band: Band, scale: float) -> list[list[float]]:
    return [[(band.value - band.low) / scale], [(band.high - band.value) / scale]]


def _identity(axes: Axes, low: float, high: float) -> None:
    """The line of equality with its tolerance, and both axes alike."""
    ends = [low, high]

    def beside(factor: float) -> list[float]:
        return [end * factor for end in ends]

    axes.fill_between(ends, beside(1 - TOLERANCE), beside(1 + TOLERANCE), color="0.88", zorder=1)
    axes.plot(ends, ends, color=GREY, lw=1, zorder=2)
    for axis in (axes.xaxis, axes.yaxis):
        log_axis(axis, ends)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_box_aspect(1)


def _legend(looks: dict[str, Look]) -> list[Line2D | Patch]:
    marks: list[Line2D | Patch] = [
        Line2D([], [], color=look.colour, marker=look.marker, mec="white", lw=0, label=label)
        for label, look in looks.items()
    ]
    marks.append(Line2D([], [], color=GREY, lw=1, label="predicted = measured"))
    marks.append(Patch(color="0.88", label=f"within {TOLERANCE:.0%}"))
    return marks
