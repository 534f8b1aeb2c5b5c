"""The final table of an experiment, and its turns in words."""

from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from allocsim.experiment.statistics import Interval
from allocsim.experiment.summary import (
    ALL_ALIKE,
    Setting,
    best_settings,
    describe,
    settings_of,
    varied_parameters,
)
from allocsim.experiment.units import show_bytes, show_ns

_PLAIN_WIDTH = 140
"""Columns of a pipe or a file: nobody folds lines there."""


def console_for_output() -> Console:
    """Standard output, wide enough for the table where it is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=_PLAIN_WIDTH, highlight=False)


def summary_view(
    rows: list[dict[str, Any]], turns: list[dict[str, Any]], units: dict[str, str], tolerance: float
) -> Group:
    """The table and the turns, ready to print."""
    parts: list[Any] = [_table(settings_of(rows), units, tolerance)]
    if turns:
        parts.append(_turns(turns, units, tolerance))
    return Group(*parts)


def show_parameters(parameters: dict[str, Any], units: dict[str, str]) -> str:
    """`mmap_threshold=128 KiB`, several joined by blanks."""
    return " ".join(f"{k}={show_value(v, units.get(k, ''))}" for k, v in parameters.items())


def show_value(value: float, unit: str) -> str:
    """A parameter's value in its unit."""
    if unit == "bytes":
        return show_bytes(value)
    if unit == "ns":
        return show_ns(value)
    return f"{value:g}" + (f" {unit}" if unit else "")


def _table(settings: list[Setting], units: dict[str, str], tolerance: float) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    varied = {n for setting in settings for n in varied_parameters(settings, setting.label)}
    only = varied.pop() if len(varied) == 1 else ""
    for name in ("workload", "policy", only or "setting"):
        table.add_column(name, no_wrap=name in ("workload", "policy"), overflow="fold")
    for name in ("CPU", "resident peak", "peak / live", "mean", "syscalls", "page faults"):
        # Folded in a narrow terminal, never cut: half a number is a wrong one.
        table.add_column(name, justify="right", overflow="fold")
    last = ""
    for setting, reason in best_settings(settings, tolerance):
        shown = setting.workload if setting.workload != last else ""
        if shown and last:
            table.add_row()
        last = setting.workload
        told = show_parameters(_varied(settings, setting), units).removeprefix(f"{only}=")
        told = f"{told} ({reason})" if reason not in ("", ALL_ALIKE) else reason
        table.add_row(shown, setting.label, told, *_figures(setting))
    return table


def _varied(settings: list[Setting], setting: Setting) -> dict[str, int | float]:
    """The parameters that set a setting apart from the others of its policy."""
    names = varied_parameters(settings, setting.label)
    return {name: value for name, value in setting.parameters.items() if name in names}


def _figures(setting: Setting) -> list[str]:
    peak, live = setting.interval("resident_peak_bytes"), setting.interval("jw4")
    times = Interval(1 + live.mean, 1 + live.low, 1 + live.high)
    return [
        _with_error(setting.interval("cpu_ns"), show_ns),
        _with_error(peak, show_bytes),
        _with_error(times, lambda value: f"{value:.2f}"),
        _with_error(setting.interval("resident_mean_bytes"), show_bytes),
        _with_error(setting.interval("syscalls"), lambda n: f"{n:,.0f}"),
        _with_error(setting.interval("minor_faults"), lambda n: f"{n:,.0f}"),
    ]


def _with_error(interval: Interval, show: Callable[[float], str]) -> str:
    """The mean, and half its interval in per cent where it has a width."""
    share = interval.half_width / abs(interval.mean) if interval.mean else 0
    return show(interval.mean) + (f" ±{share:.1%}" if share >= 0.0005 else "")


def _turns(turns: list[dict[str, Any]], units: dict[str, str], tolerance: float) -> Text:
    text = Text(f"\nWhere CPU time and memory turn (what stays within {tolerance:.0%} is level):\n")
    for turn in turns:
        unit = units.get(turn["parameter"], "")

        def show(value: float, unit: str = unit) -> str:
            return show_value(value, unit)

        others = show_parameters(turn["others"], units)
        where = f"{turn['workload']}, {turn['label']}{' ' + others if others else ''}"
        text.append(f"  {where}, over {turn['parameter']}:\n", style="bold")
        text.append(f"    CPU time {describe(turn['cpu'], show)}\n")
        text.append(f"    mean resident memory {describe(turn['memory'], show)}\n")
        if turn["crossing"]:
            low, high = map(show, turn["crossing"])
            text.append(f"    one is paid for with the other, evenly between {low} and {high}\n")
    return text
