"""An experiment and what became of its runs, as JSON values."""

from dataclasses import asdict
from typing import Any

from allocsim.experiment.results_writer import parameter_units
from allocsim.experiment.run import Report
from allocsim.experiment.setting_warnings import warnings_of_experiment
from allocsim.experiment.summary import Setting, settings_of
from allocsim.kernel import CostTable


def plain_report(report: Report) -> dict[str, Any]:
    """What was asked for, how many runs there are, the totals of each setting, and the turns.

    A total is its mean over the repeats, with the ends of its 95 % confidence interval.
    """
    experiment, outcome = report.experiment, report.outcome
    n_runs = len({run.key for run in outcome.runs})
    return {
        "experiment": experiment.name,
        "question": experiment.file.question,
        "folder": str(report.root),
        "finished": len(outcome.stored),
        "kept": outcome.kept,
        "failed": _failed(report),
        "missing": n_runs - len(outcome.stored) - len(outcome.failed),
        "interrupted": outcome.interrupted,
        "units": parameter_units(experiment),
        "settings": [_setting(setting, _totals(report)) for setting in settings_of(report.rows)],
        "tolerance": experiment.file.tolerance,
        "turns": report.turns,
        "costs": CostTable.load(experiment.costs).identity(),
        "warnings": warnings_of_experiment(experiment),
    }


def _failed(report: Report) -> list[dict[str, str]]:
    outcome = report.outcome
    titles = {run.key: run.title for run in outcome.runs}
    return [
        {"run": titles[key], "key": key, "message": failure.message}
        for key, failure in outcome.failed.items()
    ]


def _totals(report: Report) -> list[str]:
    """The names of the totals, which all runs have."""
    return list(next(iter(report.outcome.stored.values())).totals)


def _setting(setting: Setting, totals: list[str]) -> dict[str, Any]:
    return {
        "workload": setting.workload,
        "policy": setting.label,
        "parameters": setting.parameters,
        "repeats": len(setting.rows),
        "totals": {name: asdict(setting.interval(name)) for name in totals},
    }
