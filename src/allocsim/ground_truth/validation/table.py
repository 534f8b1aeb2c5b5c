"""A validation as text: the cases one by one, then how good the predictions are."""

from collections.abc import Sequence

from allocsim.display_units import show_bytes, show_ns
from allocsim.ground_truth.measurement.table import aligned, show_band
from allocsim.ground_truth.validation.comparison import Comparison, Pair
from allocsim.ground_truth.validation.summary import errors_of, gaps_of, ranking_of
from allocsim.ground_truth.validation.validate import Validation

TIMES = {
    "cpu_ns.fill": "CPU, every byte written",
    "cpu_ns.none": "CPU, nothing written",
    "wall_ns.fill": "wall, every byte written",
    "wall_ns.none": "wall, nothing written",
}
COUNTS = {
    "syscalls": "system calls",
    "minor_faults": "page faults",
    "resident_mean_bytes": "mean resident",
    "resident_peak_bytes": "peak resident",
}
MEMORY_GAP = "largest gap over time"
EQUAL = "="


def table_of(found: Validation) -> list[str]:
    """A block of rows for each figure that was timed, one for counts, then the summary."""
    lines = []
    for figure, title in TIMES.items():
        cases = [case for case in found.comparisons if figure in case.pairs()]
        if cases:
            lines += [*aligned(_time_rows(cases, figure, title)), ""]
    lines += [*aligned(_count_rows(found.comparisons)), ""]
    return [*lines, *_summary(found)]


def _time_rows(cases: Sequence[Comparison], figure: str, title: str) -> list:
    rows: list = [(title, ["measured", "predicted", "error"])]
    for case in cases:
        pair = case.pairs()[figure]
        cells = [show_band(pair.measured), show_ns(pair.predicted.value), _error(pair)]
        rows.append((_name(case), cells))
    return rows


def _count_rows(cases: Sequence[Comparison]) -> list:
    rows: list = [("measured, and error of the prediction", [*COUNTS.values(), MEMORY_GAP])]
    for case in cases:
        pairs = case.pairs()
        cells = [_count(name, pairs[name]) for name in COUNTS]
        rows.append((_name(case), [*cells, show_bytes(case.memory_gap_bytes())]))
    return rows


def _count(name: str, pair: Pair) -> str:
    value = pair.measured.value
    shown = show_bytes(value) if name.endswith("_bytes") else f"{value:,.0f}"
    return f"{shown} {_error(pair):>6}"


def _name(case: Comparison) -> str:
    return f"{case.trace}, {case.setting or 'default'}"


def _error(pair: Pair) -> str:
    if pair.measured.value == pair.predicted.value:
        return EQUAL
    return f"{pair.error:+.1%}"


def _summary(found: Validation) -> list[str]:
    lines = []
    for figure, title in TIMES.items():
        for group in ("held-out", "fitting"):
            cases = [case for case in found.comparisons if case.group == group]
            errors = errors_of(cases, figure)
            if errors is not None:
                lines.append(
                    f"{title}, {group} traces: median error {errors.median:.1%}, 90th percentile "
                    f"{errors.percentile_90:.1%}, worst {errors.worst:.1%} of {errors.n} cases; "
                    f"typical noise ±{errors.noise / 2:.1%}"
                )
    lines += [line for figure in TIMES for line in _settings_lines(found.comparisons, figure)]
    lines.append(
        f"times: lower quartile of {found.rounds} interleaved rounds, ± half of their 10-90 % band"
    )
    return [*lines, found.costs.origin()]


def _settings_lines(cases: Sequence[Comparison], figure: str) -> list[str]:
    """What settings cost as multiples of the defaults, and whether they are ranked rightly."""
    if any(figure not in case.pairs() for case in cases):
        return []
    lines = [
        f"{TIMES[figure]}: {gap.trace}, {gap.setting} against default: measured "
        f"{gap.measured:.3g}x, predicted {gap.predicted:.3g}x ({gap.error:+.0%})"
        for gap in gaps_of(cases, figure)
    ]
    ranking = ranking_of(cases, figure)
    if ranking.pairs:
        lines.append(
            f"{TIMES[figure]}: {ranking.right} of {ranking.pairs} pairs of settings that differ by "
            "more than 1.3x are ranked rightly"
        )
    return lines
