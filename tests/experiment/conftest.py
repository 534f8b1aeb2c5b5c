"""A small experiment whose simulations are made up, so that tests see the machinery alone."""

import io

import numpy as np
import pytest
from rich.console import Console

from allocsim.experiment.execution import execute
from allocsim.metrics import SAMPLE_COLUMNS, THREAD_COLUMNS, WALK_COLUMNS
from allocsim.simulation import Result

POLICY = """\
from allocsim.component import Param
from allocsim.policy import Policy


class Bump(Policy):
    threshold = Param(4096, unit="bytes", low=0, high=1 << 20)
    pad = Param(0, low=0, high=100)

    def malloc(self, size):
        return self.kernel.sbrk((size + 15) // 16 * 16)

    def free(self, address):
        pass
"""

SPEC = """\
name = "tiny"
repeats = 2
tolerance = 0.1
policies = ["bump.py"]

[[workloads]]
name = "steady"
ops = 50
sizes = { distribution = "choice", sizes = [64] }

[grid]
threshold = [1, 10, 100]
"""


@pytest.fixture
def experiment_file(tmp_path):
    """An experiment of one workload, one policy, three thresholds and two seeds."""
    (tmp_path / "bump.py").write_text(POLICY)
    path = tmp_path / "tiny.toml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def console():
    """A console that is no terminal; `text()` is what it was told."""
    file = io.StringIO()
    made = Console(file=file, width=140, highlight=False)
    made.text = file.getvalue
    return made


def _made_up(parameters, cpu_ns=1_000.0):
    """A result as the engine's, whose CPU time falls with the threshold."""
    threshold = parameters.get("threshold", 0)
    totals = {
        "cpu_ns": cpu_ns / (1 + threshold),
        "resident_peak_bytes": 4096 + 10 * threshold,
        "resident_mean_bytes": 4096 + 10 * threshold,
        "jw4": 0.5,
        "syscalls": 3,
        "minor_faults": 7,
        "external_fragmentation": float("nan"),
    }
    return Result(
        totals=totals,
        samples={name: np.arange(4) for name in SAMPLE_COLUMNS},
        walks={name: np.arange(2) for name in WALK_COLUMNS},
        threads={name: np.arange(1) for name in THREAD_COLUMNS},
        provenance={"policy": "Bump"},
    )


@pytest.fixture
def simulations(monkeypatch):
    """Replaces the engine; the list holds (parameters, seed) of every simulation made."""
    made = []

    def run_spec(spec, _observers):
        made.append((spec.parameters, spec.seed))
        return _made_up(spec.parameters)

    monkeypatch.setattr(execute, "run_spec", run_spec)
    monkeypatch.setattr(execute, "needs_process", lambda run, threads_from_ops: False)
    return made


@pytest.fixture
def made_up():
    """Makes a result as the engine's from a run's parameters."""
    return _made_up
