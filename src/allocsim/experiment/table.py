"""What an experiment's results say in words: the rows of the final table, and the turns."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console, Group
from rich.text import Text

from allocsim.display_units import show_bytes, show_ns
from allocsim.errors import printable
from allocsim.experiment.statistics import Interval
from allocsim.experiment.summary import (
    ALL_ALIKE,
    Setting,
    best_settings,
    describe,
    settings_of,
    varied_parameters,
)
from allocsim.experiment.summary_table import Line, SummaryTable
from allocsim.terminal import output_console
from allocsim.user_text import short_names, shortened

METRICS = ("CPU", "resident peak", "peak / live", "mean", "syscalls", "page faults")
_PLAIN_WIDTH = 160
_LONGEST_NAME = 40
"""Characters of a workload's or policy's name: with longer ones a table has no room for numbers."""


def console_for_output(stderr: bool = False) -> Console:
    """Standard output or error, wide enough for the table where it is no terminal."""
    return output_console(_PLAIN_WIDTH, stderr=stderr)


def summary_view(
    rows: list[dict[str, Any]], turns: list[dict[str, Any]], units: dict[str, str], tolerance: float
) -> Group:
    """The table and the turns, ready to print at any width."""
    settings = settings_of(rows)
    names = _names(name for setting in settings for name in (setting.workload, setting.label))
    parts: list[Any] = [_table(settings, names, units, tolerance)]
    if turns:
        parts.append(_turns(turns, names, units, tolerance))
    return Group(*parts)


def show_parameters(parameters: dict[str, Any], units: dict[str, str]) -> str:
    """`mmap_threshold=128 KiB`, several joined by blanks."""
    return " ".join(_parameter(k, v, units) for k, v in parameters.items())


def show_value(value: float, unit: str) -> str:
    """A parameter's value in its unit."""
    if unit == "bytes":
        return show_bytes(value)
    if unit == "ns":
        return show_ns(value)
    number = str(value) if isinstance(value, int) else f"{value:g}"
    return number + (f" {printable(unit)}" if unit else "")


def _parameter(name: str, value: float, units: dict[str, str]) -> str:
    return f"{shortened(printable(name), _LONGEST_NAME)}={show_value(value, units.get(name, ''))}"


def _names(names: Iterable[str]) -> dict[str, str]:
    return short_names(names, _LONGEST_NAME)


def _table(
    settings: list[Setting], names: dict[str, str], units: dict[str, str], tolerance: float
) -> SummaryTable:
    varied = {n for setting in settings for n in varied_parameters(settings, setting.label)}
    only = varied.pop() if len(varied) == 1 else ""
    lines = [
        Line(
            names[setting.workload],
            names[setting.label],
            [] if reason == ALL_ALIKE else _varied(settings, setting, units),
            reason,
            _figures(setting),
        )
        for setting, reason in best_settings(settings, tolerance)
    ]
    return SummaryTable(lines, METRICS, shortened(printable(only), _LONGEST_NAME))


def _varied(settings: list[Setting], setting: Setting, units: dict[str, str]) -> list[str]:
    """The parameters that set a setting apart from the others of its policy."""
    names = varied_parameters(settings, setting.label)
    return [
        _parameter(name, value, units)
        for name, value in setting.parameters.items()
        if name in names
    ]


def _figures(setting: Setting) -> list[str]:
    peak, live = setting.interval("resident_peak_bytes"), setting.interval("jw4")
    times = Interval(1 + live.mean, 1 + live.low, 1 + live.high)
    return [
        _with_error(setting.interval("cpu_ns"), show_ns),
        _with_error(peak, show_bytes),
        _with_error(times, lambda value: f"{value:.2f}" if math.isfinite(value) else "-"),
        _with_error(setting.interval("resident_mean_bytes"), show_bytes),
        _with_error(setting.interval("syscalls"), lambda n: f"{n:,.0f}"),
        _with_error(setting.interval("minor_faults"), lambda n: f"{n:,.0f}"),
    ]


def _with_error(interval: Interval, show: Callable[[float], str]) -> str:
    """The mean, and half its interval in per cent where it has a width."""
    share = interval.half_width / abs(interval.mean) if interval.mean else 0
    return show(interval.mean) + (f" ±{share:.1%}" if share >= 0.0005 else "")


def _turns(
    turns: list[dict[str, Any]], names: dict[str, str], units: dict[str, str], tolerance: float
) -> Text:
    text = Text(f"\nWhere CPU time and memory turn (what stays within {tolerance:.0%} is level):\n")
    for turn in turns:
        unit = units.get(turn["parameter"], "")

        def show(value: float, unit: str = unit) -> str:
            return show_value(value, unit)

        others = show_parameters(turn["others"], units)
        where = f"{names[turn['workload']]}, {names[turn['label']]}{' ' + others if others else ''}"
        text.append(f"  {where}, over {printable(turn['parameter'])}:\n", style="bold")
        text.append(f"    CPU time {describe(turn['cpu'], show)}\n")
        text.append(f"    mean resident memory {describe(turn['memory'], show)}\n")
        if turn["crossing"]:
            low, high = map(show, turn["crossing"])
            text.append(f"    one is paid for with the other, evenly between {low} and {high}\n")
    return text
