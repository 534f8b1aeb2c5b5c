"""The wheel carries what is found by name, wherever it is installed and used from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FINDS = """
import allocsim
from allocsim import resources
from allocsim.policy import load_policy
from allocsim.workload import load_workload

print(allocsim.__file__)
print(load_policy("first_fit").__name__)
print(resources.find("experiments", "threshold", ".toml"))
print(resources.find("experiments", "claims/a_border", ".toml"))
for name in ("sqlite3", "git-log", "churn", "large_buffers"):
    print(name, load_workload(name, 1).n_ops)
"""
EXPERIMENT = """
name = "tiny"
workloads = ["sqlite3", { use = "churn", ops = 200 }]
policies = ["first_fit"]
samples = 4
walks = 1
"""
pytestmark = pytest.mark.slow


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    subprocess.run([str(part) for part in command], check=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder into which the wheel was installed, without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "-w", folder / "dist", ROOT)
    [wheel] = (folder / "dist").glob("*.whl")
    pip("install", "--no-deps", "--target", folder / "site", wheel)
    return folder / "site"


@pytest.fixture
def python(installed, tmp_path):
    """Runs python in an empty folder with the installed package before all others."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
        )

    return run


def test_policies_workloads_and_experiments_are_found_by_name(python, installed):
    done = python("-c", FINDS)
    assert done.returncode == 0, done.stderr
    package, policy, *experiments = done.stdout.splitlines()[:4]
    assert Path(package).is_relative_to(installed)
    assert policy == "FirstFit"
    assert all(Path(found).is_relative_to(installed) for found in experiments)
    ops = dict(line.split() for line in done.stdout.splitlines()[4:])
    assert all(int(number) > 0 for number in ops.values()) and len(ops) == 4


def test_an_experiment_runs_on_shipped_names(python, installed, tmp_path):
    (tmp_path / "tiny.toml").write_text(EXPERIMENT)
    done = python(installed / "bin" / "allocsim", "run", "tiny.toml", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert "2 runs (0 of them kept) in results/tiny" in done.stdout
    assert (tmp_path / "results" / "tiny" / "runs.parquet").is_file()


def test_helpers_in_c_come_along(python, installed, tmp_path):
    done = python(installed / "bin" / "allocsim", "record", "-o", "t.parquet", "--", "ls")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t.parquet").is_file()


def test_what_a_misspelt_name_could_have_been_comes_from_the_package(python, installed):
    done = python(installed / "bin" / "allocsim", "run", "thresold")
    assert done.returncode == 2
    assert "did you mean 'threshold'?" in done.stderr
