"""The paper is built from results: every number is theirs, and a missing one fails the build."""

import copy
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from allocsim.claims.command import claims_command
from allocsim.errors import InputError
from allocsim.experiment.command import run_command
from allocsim.experiment.results import read_results
from allocsim.json_output import JsonOutput
from allocsim.policy import load_policy

typst = pytest.importorskip("typst", reason="the extra `paper` is not installed")
pytestmark = pytest.mark.slow
PAPER = Path(__file__).parents[1] / "paper"
EXPERIMENT = """
name = "threshold"
repeats = 2
samples = 16
walks = 2
workloads = [
    { use = "sqlite3", ops = 500 }, { use = "git-log", ops = 500 },
    { use = "churn", ops = 500 }, { use = "large_buffers", ops = 300 },
]
policies = [
    { use = "glibc", grid = {} }, { use = "mmap_only", grid = {} }, { use = "brk_only", grid = {} },
    { use = "glibc", label = "glibc, pinned" },
]
[grid]
mmap_threshold = ["4 KiB", "128 KiB", "32 MiB"]
"""
EMPTY_FIGURE = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'

Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build() -> Iterator[ModuleType]:
    """paper/build.py as a module."""
    sys.path.insert(0, str(PAPER))
    import build

    yield build
    sys.path.remove(str(PAPER))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `results`, of a small experiment, and `claims.json`."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "threshold.toml").write_text(EXPERIMENT)
    assert run_command(str(folder / "threshold.toml"), folder / "results", 1, False) == 0
    (folder / "results" / "figures").mkdir()
    (folder / "results" / "figures" / "over_mmap_threshold.svg").write_text(EMPTY_FIGURE)
    assert claims_command((), JsonOutput(file=folder / "claims.json")) == 0
    return folder


@pytest.fixture(scope="module")
def claims(inputs: Path) -> dict[str, Any]:
    return json.loads((inputs / "claims.json").read_text())


def test_the_paper_is_a_pdf_and_the_same_each_time(
    build: ModuleType, inputs: Path, tmp_path: Path
) -> None:
    made = [
        build.build(inputs / "results", inputs / "claims.json", tmp_path / name).read_bytes()
        for name in "ab"
    ]
    assert made[0].startswith(b"%PDF")
    assert made[0] == made[1]


def test_every_key_that_the_paper_names_comes_from_the_results(
    build: ModuleType, inputs: Path, claims: dict[str, Any]
) -> None:
    numbers = build.collect(read_results(inputs / "results"), claims)["numbers"]
    named = re.findall(r'\b(?:count|bytes|time|number)\("([^"]+)"\)', paper_text())
    assert len(named) > 20
    assert [key for key in named if key not in numbers] == []


def paper_text() -> str:
    return (PAPER / "paper.typ").read_text()


@pytest.mark.parametrize("key", ["h.batch.serve_again.resident_bytes", "i.fixed.total.cpu_ns"])
def test_a_missing_number_fails_the_build(
    build: ModuleType, inputs: Path, claims: dict[str, Any], tmp_path: Path, key: str
) -> None:
    letter, _, name = key.partition(".")
    lacking = copy.deepcopy(claims)
    del lacking["claims"][letter]["numbers"][name]
    (tmp_path / "claims.json").write_text(json.dumps(lacking))
    with pytest.raises(typst.TypstError, match=re.escape(f"claims.{key}")):
        build.build(inputs / "results", tmp_path / "claims.json", tmp_path / "build")
    assert not (tmp_path / "build" / "paper.pdf").exists()


def test_a_missing_workload_fails_the_build(
    build: ModuleType, inputs: Path, tmp_path: Path
) -> None:
    (tmp_path / "threshold.toml").write_text(EXPERIMENT.replace("large_buffers", "ramp"))
    run_command(str(tmp_path / "threshold.toml"), tmp_path / "results", 1, False)
    (tmp_path / "results" / "figures").mkdir()
    (tmp_path / "results" / "figures" / "over_mmap_threshold.svg").write_text(EMPTY_FIGURE)
    with pytest.raises(typst.TypstError, match="large_buffers"):
        build.build(tmp_path / "results", inputs / "claims.json", tmp_path / "build")


def test_missing_files_are_named(build: ModuleType, inputs: Path, tmp_path: Path) -> None:
    results, claims = inputs / "results", inputs / "claims.json"
    with pytest.raises(InputError, match="allocsim run EXPERIMENT"):
        build.build(tmp_path, claims, tmp_path / "build")
    with pytest.raises(InputError, match="allocsim claims --json"):
        build.build(results, tmp_path / "none.json", tmp_path / "build")


def test_numbers_are_those_of_the_runs(
    build: ModuleType, inputs: Path, claims: dict[str, Any]
) -> None:
    results = read_results(inputs / "results")
    data = build.collect(results, claims)
    rows = [r for r in results.rows if (r["workload"], r["policy"]) == ("churn", "mmap_only")]
    assert len(rows) == 2
    mean = sum(row["cpu_ns"] for row in rows) / 2
    assert math.isclose(data["numbers"]["churn.mmap_only.cpu_ns"], mean)
    assert data["numbers"]["experiment.runs"] == len(results.rows)
    assert data["numbers"]["claims.predictions"] == sum(map(len, predictions(claims)))
    assert f"{data['numbers']['claims.b.mapped.malloc.mapped_growth_bytes']:.0f}" == "1187840"


def predictions(claims: dict[str, Any]) -> list[list[Any]]:
    return [claim["predictions"] for claim in claims["claims"].values()]


def test_limitations_are_the_models_own_words(build: ModuleType) -> None:
    from limitations import limitations

    told = {each["of"]: each["text"] for each in limitations(["first_fit"])}
    assert told["FirstFit"] in " ".join((load_policy("first_fit").__doc__ or "").split())
    assert "NUMA" in told["Kernel"]


def test_words_that_the_numbers_contradict_are_named(build: ModuleType, tmp_path: Path) -> None:
    from statements import STATEMENTS

    numbers = {key: value for pair in STATEMENTS.values() for value, key in enumerate(pair)}
    (tmp_path / "data.json").write_text(json.dumps({"numbers": numbers}))
    build.check_statements(tmp_path)
    (tmp_path / "data.json").write_text(json.dumps({"numbers": dict.fromkeys(numbers, 1)}))
    with pytest.raises(InputError, match="sqlite3 needs less CPU time under brk_only"):
        build.check_statements(tmp_path)
