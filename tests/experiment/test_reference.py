"""`experiments/reference.toml` is the one place where every key stands with its default."""

import re
import tomllib

import pytest
from pydantic import BaseModel

from allocsim import resources
from allocsim.experiment.execution.limits import LimitOptions
from allocsim.experiment.load import load_experiment
from allocsim.experiment.spec import (
    ExperimentFile,
    PolicyEntry,
    RecordedEntry,
    SyntheticEntry,
)
from allocsim.machine import MachineOptions
from allocsim.workload.sizes import Choice, LogNormal, LogUniform, Pareto, Uniform
from allocsim.workload.spec import Accesses, Calls, Phases

REFERENCE = resources.folder("experiments") / "reference.toml"
TABLES = {
    (): ExperimentFile,
    ("policies", 0): PolicyEntry,
    ("workloads", 0): SyntheticEntry,
    ("workloads", 0, "phases"): Phases,
    ("workloads", 0, "calls"): Calls,
    ("workloads", 0, "accesses"): Accesses,
    ("kernel",): MachineOptions,
    ("limits",): LimitOptions,
}
SIZES = [Uniform, LogUniform, LogNormal, Pareto, Choice]


@pytest.mark.parametrize("model", [*TABLES.values(), RecordedEntry, *SIZES])
def test_it_mentions_every_key(model: type[BaseModel]):
    text = REFERENCE.read_text()
    for key in model.model_fields:
        assert re.search(rf"^(\[+.*)?#?{key}\b", text, re.MULTILINE), key


@pytest.mark.parametrize(("path", "model"), TABLES.items())
def test_the_values_shown_are_the_defaults(path, model):
    data = tomllib.loads(REFERENCE.read_text())
    for step in path:
        data = data[step]
    examples = {"name", "ops", "label"}
    for key, value in data.items():
        field = model.model_fields[key]
        if key in examples or field.is_required() or isinstance(value, dict | list):
            continue
        [shown] = [model.model_validate(_filled(model, {key: value}))]
        assert getattr(shown, key) == field.get_default(call_default_factory=True), key


def _filled(model, values):
    """The values with what the model requires besides."""
    needs = {
        ExperimentFile: {"workloads": ["churn"], "policies": ["glibc"]},
        PolicyEntry: {"use": "glibc"},
        SyntheticEntry: {"sizes": {"distribution": "choice", "sizes": [1]}},
    }
    return needs.get(model, {}) | values


def test_it_loads():
    experiment = load_experiment("reference")
    assert experiment.name == "reference" and len(experiment.workloads) == 1
