"""Writes a calibration as a cost file, which `CostTable.load` reads."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from allocsim.ground_truth.calibration.benchmarks import HUGE_PAGES
from allocsim.ground_truth.calibration.figures import Calibration
from allocsim.ground_truth.calibration.fit import Estimate
from allocsim.ground_truth.calibration.noise import NOISE_LIMIT
from allocsim.kernel.costs import CostTable, Event

_HEADER = """\
# Unit costs measured by `allocsim calibrate`. Times are in nanoseconds; low and high are the ends
# of 95 % intervals. docs/calibration.md says how each figure came about.
"""


def cost_file(found: Calibration, machine: Mapping[str, object], shipped: CostTable) -> str:
    """The text of a cost file. Events that cannot be measured keep their shipped figure."""
    tables: dict[str, Mapping[str, object]] = {
        "machine": machine,
        "calibration": _quality(found),
        "costs": _costs(found, shipped),
        "contention": {"threads": found.threads, **found.contention},
    }
    if huge_pages := _huge_pages(found):
        tables["huge_pages"] = huge_pages
    tables["steps"] = _steps(found)
    return _HEADER + "".join(_table(name, content) for name, content in tables.items())


def cost_table(found: Calibration, machine: Mapping[str, object], name: str) -> CostTable:
    """The unit costs alone, for use at once. Events that cannot be measured keep their shipped
    figure."""
    shipped = CostTable.load()
    figures = [_cost(found, shipped, event) for event in Event]
    ends = ([figure.get(end, figure["ns"]) for figure in figures] for end in ("low", "high"))
    low_ns, high_ns = (tuple(column) for column in ends)
    unit_ns = tuple(figure["ns"] for figure in figures)
    return CostTable(unit_ns, {"machine": dict(machine)}, low_ns, high_ns, name)


def _quality(found: Calibration) -> dict[str, object]:
    noise = found.noise
    return {
        "rounds": found.rounds,
        "seconds": round(found.seconds, 1),
        "noisy": noise.noisy,
        "spread": _short(noise.typical),
        "spread_limit": NOISE_LIMIT,
        "worst_spread": _short(noise.worst),
        "worst_benchmark": noise.worst_name,
        "misfit": _short(found.misfit()),
        "fault_mismatches": found.mismatches,
    }


def _costs(found: Calibration, shipped: CostTable) -> dict[str, object]:
    return {e.name.lower(): _cost(found, shipped, e) for e in Event}


def _cost(found: Calibration, shipped: CostTable, event: Event) -> dict[str, Any]:
    name = event.name.lower()
    if estimate := found.costs.get(name):
        return {**_figure(estimate), "source": "measured"}
    why = "by definition" if event is Event.SPIN_NS else "assumed: not measured, the shipped figure"
    return {"ns": shipped.unit_ns[event], "source": why}


def _huge_pages(found: Calibration) -> dict[str, object]:
    names = {b.name: b.name.removeprefix("huge_") for b in HUGE_PAGES}
    return {
        short: _figure(found.steps[name].measured)
        for name, short in names.items()
        if name in found.steps
    }


def _steps(found: Calibration) -> Mapping[str, object]:
    steps = {}
    for name, step in found.steps.items():
        steps[name] = _figure(step.measured)
        if step.fitted_ns is not None:
            steps[name]["fitted_ns"] = _short(step.fitted_ns)
        steps[name]["what"] = step.what
    return steps


def _figure(estimate: Estimate) -> dict[str, object]:
    low, ns, high = sorted(map(_short, (estimate.low_ns, estimate.ns, estimate.high_ns)))
    return {"ns": ns, "low": low, "high": high}


def _short(value: float) -> float:
    """Four significant digits: more than any of these figures has."""
    return float(f"{value:.4g}")


# ---- TOML
def _table(name: str, content: Mapping[str, object]) -> str:
    return f"\n[{name}]\n" + "".join(f"{line}\n" for line in _lines(content))


def _lines(content: Mapping[str, object]) -> Iterator[str]:
    width = max(map(len, content), default=0)
    for key, value in content.items():
        yield f"{key:<{width}} = {_value(value)}"


def _value(value: object) -> str:
    """A value in TOML: text as JSON writes it, tables and arrays on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, float):
        return repr(_short(value))
    return json.dumps(value)
