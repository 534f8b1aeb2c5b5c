"""Draws one figure by its name, for Python."""

from io import BytesIO
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from allocsim.errors import InputError
from allocsim.experiment.results import Results
from allocsim.figures.parts import draw_parts
from allocsim.figures.style import house_style
from allocsim.figures.threads import draw_threads, families
from allocsim.figures.threshold import draw_sweep, swept_parameters
from allocsim.figures.timeline import draw_timeline
from allocsim.figures.tradeoff import draw_tradeoff
from allocsim.figures.view import View, view_of_results
from allocsim.strict_toml import unknown

_PLAIN = {
    "tradeoff": draw_tradeoff,
    "cost_by_part": draw_parts,
    "memory_over_time": draw_timeline,
}


class Panels(list[Axes]):
    """The axes of a figure, one or more, to be changed further; as a notebook's output, a picture.

    figure: Matplotlib's figure, which can be saved.
    """

    def __init__(self, figure: Figure) -> None:
        super().__init__(figure.axes)
        self.figure = figure

    def _repr_png_(self) -> bytes:
        content = BytesIO()
        self.figure.savefig(content, format="png", bbox_inches="tight")
        return content.getvalue()


def draw(results: Results, figure: str, **options: Any) -> Figure:
    """The figure of that name; see `allocsim.study.Sweep.plot`. InputError for an unknown one."""
    view = view_of_results(results)
    with house_style():
        if figure in _PLAIN:
            return _PLAIN[figure](view, **options)
        if figure == "threads" and families(view):
            return draw_threads(view, **options)
        if figure == "over":
            return draw_sweep(view, _swept(view, **options))
    raise InputError(unknown("figure", figure, [*_PLAIN, "threads", "over"]))


def _swept(view: View, parameter: str = "") -> str:
    """The parameter, if it was swept; the only one that was if none is named."""
    swept = swept_parameters(view)
    if not parameter and len(swept) == 1:
        return str(swept[0])
    if parameter not in swept:
        raise InputError(unknown("swept parameter", parameter, swept))
    return parameter
