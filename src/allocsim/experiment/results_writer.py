"""Writes the results of an experiment as a whole: `runs.parquet`, `index.sqlite`, `manifest.json`.

All three are made anew from the runs each time, and the first two depend on nothing else: the same
runs give the same bytes, whatever computed them, in which order, with how many jobs.
"""

import json
import os
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from allocsim.experiment.arrow_columns import numbers, texts
from allocsim.experiment.index import index_of
from allocsim.experiment.manifest import seal_manifest, sha256_of
from allocsim.experiment.records import StoredRun
from allocsim.experiment.runner import Outcome
from allocsim.experiment.segments import FORMAT
from allocsim.experiment.setting_warnings import warnings_of_experiment
from allocsim.experiment.spec import Experiment
from allocsim.experiment.store import cannot_store
from allocsim.experiment.sweep import Run
from allocsim.kernel import CostTable
from allocsim.outputs import write_whole

_LIBRARIES = ("allocsim", "numpy", "numba", "scipy", "pyarrow", "simpy")


def rows_of(outcome: Outcome) -> list[dict[str, Any]]:
    """A row for every finished run, in the experiment's order."""
    return [_row(run, outcome.stored[run.key]) for run in outcome.runs if run.key in outcome.stored]


def write_tables(rows: list[dict[str, Any]], root: Path) -> str:
    """Writes the table of all finished runs, and the same as a database; the table's SHA-256."""
    table = _table(_flat(rows))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    _write(root / "runs.parquet", content)
    _write(root / "index.sqlite", index_of(table))
    return sha256_of(content)


def write_manifest(
    experiment: Experiment,
    outcome: Outcome,
    root: Path,
    turns: list[dict[str, Any]],
    runs_sha256: str,
) -> None:
    """Writes what was asked and on which machine, what failed or is missing, and the turns."""
    manifest = _manifest(experiment, outcome, turns) | {"runs_sha256": runs_sha256}
    _write(root / "manifest.json", seal_manifest(manifest))


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise cannot_store(path, error) from error


def _row(run: Run, stored: StoredRun) -> dict[str, Any]:
    return {
        "workload": run.workload,
        "label": run.label,
        "policy": run.policy,
        "parameters": run.parameters,
        "seed": run.seed,
        "key": run.key,
        "result": stored.result,
        **stored.totals,
    }


def _flat(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with parameters as JSON text, and each as a column `parameter.NAME` of its own."""
    names = sorted({name for row in rows for name in row["parameters"]})
    return [
        row
        | {"parameters": json.dumps(row["parameters"], sort_keys=True)}
        | {f"parameter.{name}": row["parameters"].get(name) for name in names}
        for row in rows
    ]


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows, each of the same names; a value is a text or a number."""
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    return pa.table(
        {
            name: texts(column) if isinstance(column[0], str) else numbers(column)
            for name, column in columns.items()
        }
    )


def _manifest(
    experiment: Experiment, outcome: Outcome, turns: list[dict[str, Any]]
) -> dict[str, Any]:
    done = outcome.stored.keys() | outcome.failed.keys()
    return {
        "format": FORMAT,
        "name": experiment.name,
        "question": experiment.file.question,
        "experiment": str(experiment.path),
        "specification": experiment.file.model_dump(mode="json"),
        "workloads": {w.name: w.spec.model_dump(mode="json") for w in experiment.workloads},
        "labels": [policy.label for policy in experiment.policies],
        "units": parameter_units(experiment),
        "costs": CostTable.load(experiment.costs).identity(),
        "turns": turns,
        "warnings": warnings_of_experiment(experiment),
        "finished": len(outcome.stored),
        "failed": [
            {"run": run.title, "key": run.key, **asdict(outcome.failed[run.key])}
            for run in outcome.runs
            if run.key in outcome.failed
        ],
        "missing": [run.title for run in outcome.runs if run.key not in done],
        "interrupted": outcome.interrupted,
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "python": sys.version.split()[0],
        "libraries": {name: version(name) for name in _LIBRARIES},
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def parameter_units(experiment: Experiment) -> dict[str, str]:
    """The unit of every parameter that some policy has."""
    return {
        name: parameter.unit
        for policy in experiment.policies
        for name, parameter in policy.policy.parameters().items()
    }
