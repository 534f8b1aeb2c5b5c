"""`allocsim figures`: draws all figures of an experiment's results."""

from pathlib import Path

from allocsim.figures.parts import draw_parts
from allocsim.figures.style import house_style, save
from allocsim.figures.threads import draw_threads, families
from allocsim.figures.threshold import draw_sweep, swept_parameters
from allocsim.figures.timeline import draw_timeline
from allocsim.figures.tradeoff import draw_tradeoff
from allocsim.figures.view import view_of
from allocsim.outputs import check_folder
from allocsim.user_text import file_name


def draw_figures(folder: Path, output: Path | None = None) -> list[Path]:
    """Draws the results in `folder`, as PNG, SVG and PDF, into `output`; returns the files.

    The trade-off, the cost by part, memory over time, one figure per swept parameter, and one of
    threads where workloads differ in their number. By default they go to `folder`/figures.
    """
    view = view_of(folder)
    output = output or folder / "figures"
    check_folder(output)
    with house_style():
        drawn = {
            "tradeoff": draw_tradeoff(view),
            "cost_by_part": draw_parts(view),
            "memory_over_time": draw_timeline(view),
        }
        drawn |= {
            f"over_{file_name(name)}": draw_sweep(view, name) for name in swept_parameters(view)
        }
        if families(view):
            drawn["threads"] = draw_threads(view)
        return [path for name, figure in drawn.items() for path in save(figure, output, name)]
