"""How all figures look: colours and markers by policy, notes, files that never vary.

The colours are those of seaborn's palette for colour-blind readers; since ten colours and grey
prints are not told apart by everybody, each policy also has a marker and a line style of its own.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from allocsim.outputs import AtomicFile, cannot_write
from allocsim.user_text import short_names

PALETTE = (
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc",
    "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
LINES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
GREY = "0.35"
_ORDER = (0, 1, 2, 4, 9, 3, 5, 7, 8, 6)
"""Colours of the palette such that the first few differ most."""
LONGEST_NAME = 36
"""Characters of a name in a figure: longer ones leave no room for the data."""

FORMATS = ("png", "svg", "pdf")
_UNDATED = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
_DPI, _MOST_PIXELS, _LONGEST_SIDE_PIXELS = 160, 80e6, 60_000

_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": ".15",
    "axes.grid": True,
    "axes.labelcolor": ".15",
    "axes.labelsize": 10,
    "axes.linewidth": 1.0,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "figure.titlesize": "large",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": "0.92",
    "grid.linewidth": 0.8,
    "legend.fontsize": 9.25,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.8,
    "lines.solid_capstyle": "round",
    "patch.linewidth": 0.8,
    "svg.hashsalt": "allocsim",
    "text.color": ".15",
    # Names from users are no formulas.
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.color": ".15",
    "xtick.labelsize": 9.25,
    "xtick.major.size": 4.8,
    "xtick.major.width": 1.0,
    "xtick.minor.size": 3.2,
    "xtick.minor.width": 0.8,
    "ytick.color": ".15",
    "ytick.labelsize": 9.25,
    "ytick.major.size": 4.8,
    "ytick.major.width": 1.0,
    "ytick.minor.size": 3.2,
    "ytick.minor.width": 0.8,
}


@dataclass(frozen=True)
class Look:
    """How one policy is drawn, in every figure."""

    colour: Any
    marker: str
    line: Any


def looks_for(labels: Iterable[str]) -> dict[str, Look]:
    """A look for each policy, in their order."""
    return {
        label: Look(PALETTE[_ORDER[i % 10]], MARKERS[j % len(MARKERS)], LINES[j % len(LINES)])
        for i, j, label in ((i, i + i // 10, label) for i, label in enumerate(labels))
    }


def shades(look: Look, n_curves: int) -> list[Look]:
    """Looks for several curves of one policy, from dark to light, each with its own marker."""
    if n_curves == 1:
        return [look]
    base = to_rgb(look.colour)
    return [
        Look(_mixed(base, 0.55 - 1.1 * i / (n_curves - 1)), marker, line)
        for i, marker, line in zip(
            range(n_curves), _cycle(MARKERS, n_curves), _cycle(LINES, n_curves), strict=True
        )
    ]


def _mixed(colour: tuple[float, float, float], black: float) -> tuple[float, ...]:
    """The colour with that share of black; of white where the share is negative."""
    target = 0.0 if black > 0 else 1.0
    return tuple(part + (target - part) * abs(black) for part in colour)


def _cycle(values: Sequence[Any], n: int) -> list[Any]:
    return [values[i % len(values)] for i in range(n)]


def figure_names(texts: Iterable[str]) -> dict[str, str]:
    """Names from users as figures show them: one short line each, no two alike.

    A character that the font lacks is written as its code: boxes all look alike.
    """
    drawn = _drawn_characters()
    escaped = {text: "".join(_escaped(c, drawn) for c in text) for text in texts}
    short = short_names(escaped.values(), LONGEST_NAME)
    return {text: short[name] for text, name in escaped.items()}


def _drawn_characters() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(_STYLE["font.family"])).get_charmap())


def _escaped(character: str, drawn: frozenset[int]) -> str:
    if character.isascii() or ord(character) in drawn:
        return character
    return character.encode("unicode_escape").decode("ascii")


@contextmanager
def house_style() -> Iterator[None]:
    """Settings under which all figures are drawn and saved."""
    with matplotlib.rc_context(_STYLE):
        yield


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes a figure in each format; equal figures give equal files."""
    # Laying out takes longer than drawing: once is enough for all formats.
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
    figure.set_layout_engine(None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    files = [AtomicFile(folder / f"{name}.{suffix}") for suffix in FORMATS]
    for file, suffix in zip(files, FORMATS, strict=True):
        with file.writing():
            figure.savefig(
                file.temporary, format=suffix, dpi=dots_per_inch(figure), metadata=_UNDATED[suffix]
            )
        file.commit()
    return [file.path for file in files]


def dots_per_inch(figure: Figure) -> float:
    """160, or fewer for figures of very many panels, which no renderer could hold."""
    width, height = figure.get_size_inches()
    return min(
        _DPI, _LONGEST_SIDE_PIXELS / max(width, height), math.sqrt(_MOST_PIXELS / (width * height))
    )


def grid_of_axes(
    rows: int, columns: int, *, width: float, height: float, **options: Any
) -> tuple[Figure, Any]:
    """A figure of `rows` x `columns` axes, each of about that size in inches, laid out to fit."""
    figure = Figure(figsize=(columns * width + 1.6, rows * height + 0.6), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def legend_beside(figure: Figure, handles: list[Any], title: str | None = None) -> None:
    """A legend to the right of all axes, where it covers no data."""
    figure.legend(
        handles=handles, loc="outside right upper", title=title, alignment="left", fontsize="small"
    )


def note_below(figure: Figure, lines: Iterable[str]) -> None:
    """Lines below all axes: what the figure leaves out, and why."""
    if text := "\n".join(lines):
        figure.supxlabel(text, fontsize=8, color=GREY, x=0.01, ha="left")


def note_inside(axes: Axes, lines: Iterable[str]) -> None:
    """Lines in the upper right corner of a panel."""
    axes.annotate(
        "\n".join(lines), (0.99, 0.97), xycoords="axes fraction", ha="right", va="top",
        fontsize=7, color=GREY,
    )  # fmt: skip
