"""Builds the paper from stored results: `python paper/build.py`, or `make paper` for all of it.

Reads the results of experiments/threshold.toml, its figure over the threshold, and what
`allocsim claims --json-file` wrote; gathers every number that the paper may use, by key, in
build/data.json; compiles paper.typ. A number that the paper uses and the results lack fails it.
"""

import argparse
import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typst
from limitations import limitations
from statements import contradicted

from allocsim.display_units import show_bytes, show_ns
from allocsim.errors import AllocsimError, InputError
from allocsim.experiment.results import Results, read_results
from allocsim.experiment.summary import Setting, best_settings, describe, settings_of
from allocsim.experiment.table import show_parameters, show_value
from allocsim.outputs import cannot_write, check_folder
from allocsim.trace import open_trace

PAPER = Path(__file__).parent
FIGURE = "over_mmap_threshold.svg"
SWEPT = "mmap_threshold"
EXACT = ("brk_calls", "mmap_calls", "munmap_calls", "syscalls", "minor_faults", "failed_requests")
MEASURED = (
    "cpu_ns", "allocator_ns", "syscall_ns", "fault_ns", "zeroing_ns", "copying_ns", "program_ns",
    "resident_peak_bytes", "resident_mean_bytes", "live_peak_bytes", "mapped_peak_bytes",
)  # fmt: skip


def main() -> int:
    """Builds the paper; a message, and 2 when something is missing or cannot be written, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("results/threshold"))
    parser.add_argument("--claims", type=Path, default=PAPER / "build" / "claims.json")
    parser.add_argument("--output", type=Path, default=PAPER / "build")
    given = parser.parse_args()
    try:
        check_folder(given.output)
        pdf = build(given.results, given.claims, given.output)
        check_statements(given.output)
        print(pdf)
    except (AllocsimError, typst.TypstError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except OSError as error:
        print(f"error: {cannot_write(given.output, error)}", file=sys.stderr)
        return 2
    return 0


def build(results: Path, claims: Path, output: Path) -> Path:
    """Builds the paper into folder `output`; returns the PDF.

    InputError when results, claims or the figure are missing, TypstError when a number is.
    """
    data = collect(read_results(results), read_claims(claims))
    figure = results / "figures" / FIGURE
    if not figure.is_file():
        raise InputError(f"{figure}: not there; `allocsim figures {results}` draws it")
    output.mkdir(parents=True, exist_ok=True)
    for file in (PAPER / "paper.typ", PAPER / "references.yml", figure):
        shutil.copy(file, output)
    (output / "data.json").write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
    pdf = output / "paper.pdf"
    pdf.unlink(missing_ok=True)
    typst.compile(
        str(output / "paper.typ"), output=str(pdf), root=str(output), ignore_system_fonts=True
    )
    return pdf


def check_statements(output: Path) -> None:
    """InputError when the paper in folder `output` says in words what its numbers contradict."""
    numbers = json.loads((output / "data.json").read_text())["numbers"]
    if wrong := list(contradicted(numbers)):
        raise InputError("\n".join(["paper.typ no longer fits the results; it says", *wrong]))


def read_claims(file: Path) -> dict[str, Any]:
    """What `allocsim claims --json-file FILE` wrote."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file}: {error}; `allocsim claims --json-file {file}` writes it"
        ) from None


def collect(results: Results, claims: dict[str, Any]) -> dict[str, Any]:
    """Everything that the paper may show."""
    settings = settings_of(results.rows)
    numbers = dict(_experiment_numbers(results, settings))
    numbers |= dict(_claim_numbers(claims))
    numbers |= {f"cost.{event}_ns": cost["ns"] for event, cost in claims["costs"]["costs"].items()}
    return {
        "numbers": {key: value for key, value in numbers.items() if math.isfinite(value)},
        "settings": list(_settings(results, settings)),
        "turns": list(_turns(results)),
        "workloads": list(_workloads(results)),
        "costs": claims["costs"],
        "claims": [_claim(letter, told) for letter, told in claims["claims"].items()],
        "limitations": limitations(_policies(results)),
        "version": claims["allocsim"],
    }


# ---------------------------------------------------------------------------------- experiment
def _experiment_numbers(results: Results, settings: list[Setting]) -> Iterator[tuple[str, float]]:
    """`experiment.runs` …, and what `_group_numbers` tells of each workload and policy."""
    swept = sorted({s.parameters[SWEPT] for s in settings if SWEPT in s.parameters})
    yield "experiment.runs", len(results.rows)
    yield "experiment.settings", len(settings)
    yield "experiment.workloads", len({s.workload for s in settings})
    yield "experiment.policies", len({s.label for s in settings})
    yield "experiment.operations", sum(row["ops"] for row in results.rows)
    yield "experiment.threshold_low_bytes", swept[0]
    yield "experiment.threshold_high_bytes", swept[-1]
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        groups.setdefault(f"{setting.workload}.{setting.label}", []).append(setting)
    for name, group in groups.items():
        yield from _group_numbers(name, group)


def _group_numbers(name: str, group: list[Setting]) -> Iterator[tuple[str, float]]:
    """Of one workload and policy: its only setting, or each threshold and the best of them."""
    if len(group) == 1:
        yield from _setting_numbers(name, group[0])
        return
    for setting in group:
        at = show_bytes(setting.parameters[SWEPT])
        yield from _setting_numbers(f"{name}@{at}", setting)
    for key, metric in (("least_cpu", "cpu_ns"), ("least_memory", "resident_mean_bytes")):
        yield from _setting_numbers(f"{name}.{key}", min(group, key=lambda s: s.mean(metric)))


def _setting_numbers(prefix: str, setting: Setting) -> Iterator[tuple[str, float]]:
    for name in (*EXACT, *MEASURED):
        yield f"{prefix}.{name}", setting.mean(name)
    for name, value in setting.parameters.items():
        yield f"{prefix}.{name}", value


def _settings(results: Results, settings: list[Setting]) -> Iterator[dict[str, Any]]:
    """The rows of the results' table."""
    units = results.manifest["units"]
    tolerance = results.manifest["specification"]["tolerance"]
    for setting, reason in best_settings(settings, tolerance):
        yield {
            "workload": setting.workload,
            "policy": setting.label,
            "parameters": show_parameters(setting.parameters, units),
            "reason": reason,
            "cpu": show_ns(setting.mean("cpu_ns")),
            "peak": show_bytes(setting.mean("resident_peak_bytes")),
            "mean": show_bytes(setting.mean("resident_mean_bytes")),
            "syscalls": f"{setting.mean('syscalls'):,.0f}",
            "faults": f"{setting.mean('minor_faults'):,.0f}",
        }


def _turns(results: Results) -> Iterator[dict[str, str]]:
    """Where CPU time and memory turn along the threshold, in words."""
    for turn in results.manifest["turns"]:
        if turn["parameter"] != SWEPT:
            continue

        def show(value: float) -> str:
            return show_value(value, "bytes")

        yield {
            "workload": turn["workload"],
            "policy": turn["label"],
            "cpu": describe(turn["cpu"], show),
            "memory": describe(turn["memory"], show),
        }


def _workloads(results: Results) -> Iterator[dict[str, Any]]:
    """The workloads: what they are, and how many operations of each were simulated in a run."""
    ops = {row["workload"]: row["ops"] for row in results.rows}
    for name, told in results.manifest["workloads"].items():
        kind = "recorded" if "trace" in told else "synthetic"
        described = told["description"] or _command(told.get("trace"))
        yield {"name": name, "kind": kind, "what": described.rstrip("."), "ops": f"{ops[name]:,}"}


def _command(trace: str | None) -> str:
    """The command whose calls were recorded."""
    if trace is None:
        return ""
    provenance = open_trace(trace).provenance
    return " ".join([Path(provenance.program).name, *provenance.arguments])


def _policies(results: Results) -> list[str]:
    return [entry["use"] for entry in results.manifest["specification"]["policies"]]


# ---------------------------------------------------------------------------------- claims
def _claim_numbers(claims: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """`claims.LETTER.RUN.PHASE.NAME`, and how many claims and predictions there are."""
    told = claims["claims"]
    for letter, claim in told.items():
        for name, value in claim["numbers"].items():
            yield f"claims.{letter}.{name}", value
    predictions = [p for claim in told.values() for p in claim["predictions"]]
    yield "claims.count", len(told)
    yield "claims.predictions", len(predictions)
    yield "claims.predictions_held", sum(p["holds"] and p["value"] is not None for p in predictions)
    for verdict in ("holds", "holds with a limit", "does not hold"):
        key = f"claims.{verdict.replace(' ', '_')}"
        yield key, sum(claim["verdict"] == verdict for claim in told.values())


def _claim(letter: str, told: dict[str, Any]) -> dict[str, Any]:
    return {
        "letter": letter,
        **{name: told[name] for name in ("title", "limit", "verdict")},
        "predictions": [_prediction(prediction) for prediction in told["predictions"]],
    }


def _prediction(told: dict[str, Any]) -> dict[str, Any]:
    bounds = {"equals": "", "at_least": "≥ ", "at_most": "≤ "}
    predicted = next(sign + _plain(told[name]) for name, sign in bounds.items() if name in told)
    simulated = "not checked" if told["value"] is None else _plain(told["value"])
    return {
        "says": told["says"],
        "predicted": predicted,
        "simulated": simulated,
        "holds": told["holds"],
    }


def _plain(value: float) -> str:
    """Whole numbers in full, others with three significant digits; a proper minus sign."""
    text = f"{value:,.0f}" if value == round(value) else f"{value:,.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


if __name__ == "__main__":
    sys.exit(main())
