"""What the rows of an experiment say: means by setting, and where curves turn."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from allocsim.experiment.statistics import Interval, confidence_interval
from allocsim.experiment.turns import find_crossing, find_turn

Row = dict[str, Any]
CPU, MEMORY = "cpu_ns", "resident_mean_bytes"
LEAST_CPU, LEAST_MEMORY, LEAST_BOTH = "least CPU", "least memory", "least of both"
ALL_ALIKE = "all settings alike"
"""Why a setting of a swept policy is shown."""


@dataclass(frozen=True)
class Setting:
    """All repeats of one workload under one policy with one set of parameters."""

    workload: str
    label: str
    parameters: dict[str, int | float]
    rows: list[Row]

    def mean(self, metric: str) -> float:
        """The mean of a total over the repeats."""
        return sum(float(row[metric]) for row in self.rows) / len(self.rows)

    def interval(self, metric: str) -> Interval:
        """The same with its confidence interval."""
        return confidence_interval([float(row[metric]) for row in self.rows])


@dataclass(frozen=True)
class Curve:
    """The settings of one workload and policy that differ in one parameter only, by its value.

    others: the parameters that have the same value all along.
    """

    workload: str
    label: str
    parameter: str
    others: dict[str, int | float]
    settings: list[Setting]

    @property
    def x(self) -> list[float]:
        """The parameter's values, rising."""
        return [setting.parameters[self.parameter] for setting in self.settings]

    def y(self, metric: str) -> list[float]:
        """The means of a total along the curve."""
        return [setting.mean(metric) for setting in self.settings]


def settings_of(rows: list[Row]) -> list[Setting]:
    """The rows grouped by workload, policy and parameters, in the order of their first rows."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        told = json.dumps(row["parameters"], sort_keys=True)
        groups.setdefault((row["workload"], row["label"], told), []).append(row)
    return [
        Setting(workload, label, json.loads(told), group)
        for (workload, label, told), group in groups.items()
    ]


def varied_parameters(settings: list[Setting], label: str) -> list[str]:
    """The parameters in which settings of a policy differ from each other, sorted by name."""
    told = [setting.parameters for setting in settings if setting.label == label]
    names = {name for parameters in told for name in parameters}
    return sorted(n for n in names if len({parameters.get(n) for parameters in told}) > 1)


def curves_of(settings: list[Setting]) -> list[Curve]:
    """A curve for every parameter that takes at least three values while the others stay."""
    return [curve for curve in _curves(settings) if len(curve.settings) >= 3]


def _curves(settings: list[Setting]) -> Iterator[Curve]:
    lines: dict[tuple[str, str, str, str], list[Setting]] = {}
    for setting in settings:
        for parameter in sorted(setting.parameters):
            key = (setting.workload, setting.label, parameter, _others(setting, parameter))
            lines.setdefault(key, []).append(setting)
    for (workload, label, parameter, others), line in lines.items():
        line.sort(key=lambda setting: setting.parameters[parameter])
        yield Curve(workload, label, parameter, json.loads(others), line)


def _others(setting: Setting, parameter: str) -> str:
    others = {k: v for k, v in setting.parameters.items() if k != parameter}
    return json.dumps(others, sort_keys=True)


def turns_of(settings: list[Setting], tolerance: float) -> list[dict[str, Any]]:
    """For each curve the turns of CPU time and of memory, and where the two cross; JSON values.

    A curve with a value that is no finite number has none.
    """
    return [
        {
            "workload": curve.workload,
            "label": curve.label,
            "parameter": curve.parameter,
            "others": curve.others,
            "cpu": asdict(find_turn(curve.x, curve.y(CPU), tolerance)),
            "memory": asdict(find_turn(curve.x, curve.y(MEMORY), tolerance)),
            "crossing": _crossing(curve, tolerance),
        }
        for curve in curves_of(settings)
        if np.isfinite([*curve.y(CPU), *curve.y(MEMORY)]).all()
    ]


def _crossing(curve: Curve, tolerance: float) -> tuple[float, float] | None:
    """Where CPU and memory cross; None if one of them is flat, and so crosses by chance only."""
    cpu, memory = curve.y(CPU), curve.y(MEMORY)
    if "flat" in (find_turn(curve.x, y, tolerance).shape for y in (cpu, memory)):
        return None
    return find_crossing(curve.x, cpu, memory)


def best_settings(settings: list[Setting], tolerance: float) -> list[tuple[Setting, str]]:
    """For each workload and policy the setting with the least CPU and the one with least memory.

    With each comes why it was chosen. Where neither CPU nor memory differ by more than the
    tolerance, the first stands for all; a policy that was not swept is chosen for no reason.
    """
    chosen: list[tuple[Setting, str]] = []
    groups: dict[tuple[str, str], list[Setting]] = {}
    for setting in settings:
        groups.setdefault((setting.workload, setting.label), []).append(setting)
    for members in groups.values():
        least_cpu = min(members, key=lambda s: (s.mean(CPU), s.mean(MEMORY)))
        least_memory = min(members, key=lambda s: (s.mean(MEMORY), s.mean(CPU)))
        if len(members) == 1:
            chosen.append((members[0], ""))
        elif all(_alike(members, metric, tolerance) for metric in (CPU, MEMORY)):
            chosen.append((members[0], ALL_ALIKE))
        elif least_cpu is least_memory:
            chosen.append((least_cpu, LEAST_BOTH))
        else:
            chosen += [(least_cpu, LEAST_CPU), (least_memory, LEAST_MEMORY)]
    return chosen


def _alike(settings: list[Setting], metric: str, tolerance: float) -> bool:
    means = [setting.mean(metric) for setting in settings]
    return max(means) <= min(means) * (1 + tolerance)


def describe(turn: dict[str, Any], show: Callable[[float], str]) -> str:
    """A turn (as a dict) in words; `show` writes a value of the parameter."""
    shape, start, end, ratio = turn["shape"], turn["start"], turn["end"], turn["ratio"]
    factor = "from or to zero" if ratio is None else f"by a factor of {ratio:.3g}"
    if shape == "flat":
        return f"does not turn: the highest is {ratio or 1:.3f} times the lowest"
    if shape in ("falls", "rises"):
        return f"{shape} {factor} between {show(start)} and {show(end)}, level beyond"
    if shape in ("valley", "peak"):
        least = "lowest" if shape == "valley" else "highest"
        return f"turns at {show(turn['extreme'])}, where it is {least} (varies {factor})"
    return f"wavers {factor}, lowest at {show(turn['best'])}"
