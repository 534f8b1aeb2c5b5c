"""What commands write as JSON is what the schema says, and nothing else goes to standard output."""

import json
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from allocsim.cli import app
from allocsim.trace import Op, Trace, write_trace

SCHEMA = Draft202012Validator(
    json.loads(files("allocsim").joinpath("output.schema.json").read_text())
)


EXPERIMENT = """
policies = ["first_fit", { use = "best_fit", label = "tight" }]
workloads = [{ ops = 200, sizes = { distribution = "uniform", low = 1, high = 4096 } }]
repeats = 2
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trace = Trace.of(op=[Op.MALLOC, Op.FREE], object=[0, 0], size=[100_000, 0])
    write_trace(tmp_path / "t.parquet", trace)
    (tmp_path / "e.toml").write_text(EXPERIMENT)
    return tmp_path


MEASURE = ("measure", "t.parquet", "--policy", "best_fit", "--rounds", "1")
COMMANDS = [
    ("simulate", "t.parquet", "--policy", "glibc", "--policy", "best_fit"),
    ("simulate", "t.parquet", "--machine", "cpus=2", "--memory", "64M"),
    ("run", "e.toml", "--jobs", "1"),
    ("list",),
    ("list", "parameters"),
    ("claims", "a"),
    ("trace", "info", "t.parquet", "--check"),
    ("trace", "info", "jq"),
    pytest.param(("verify", "t.parquet"), marks=pytest.mark.slow),
    pytest.param(MEASURE, marks=pytest.mark.slow),
    pytest.param(("check", "best_fit", "--no-compile"), marks=pytest.mark.slow),
    pytest.param(("warm", "first_fit"), marks=pytest.mark.slow),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_output_is_what_the_schema_says(folder, command):
    ended = CliRunner().invoke(app, [*command, "--json", "--json-file", "same.json"])
    assert ended.exit_code in (0, 1), ended.output
    found = json.loads(ended.stdout)
    SCHEMA.validate(found)
    assert found["command"] == " ".join(command[: 1 + (command[0] == "trace")])
    assert json.loads((folder / "same.json").read_text()) == found


def test_json_of_an_experiment_has_each_setting_under_its_label(folder):
    (folder / "bad.py").write_text(
        "from allocsim import Policy\nclass Bad(Policy):\n"
        "    def malloc(self, size): return 1 // 0\n    def free(self, address): pass\n"
    )
    (folder / "e.toml").write_text(EXPERIMENT.replace("[", '["bad.py", ', 1))
    ended = CliRunner().invoke(app, ["run", "e.toml", "--jobs", "1", "--json"])
    found = json.loads(ended.stdout)
    SCHEMA.validate(found)
    assert ended.exit_code == 1
    assert [setting["policy"] for setting in found["settings"]] == ["first_fit", "tight"]
    assert (found["finished"], found["missing"], len(found["failed"])) == (4, 0, 2)
    assert "ZeroDivisionError" in found["failed"][0]["message"]
    totals = found["settings"][0]["totals"]
    assert totals["ops"] == {"mean": 200, "low": 200, "high": 200}
    assert totals["cpu_ns"]["low"] < totals["cpu_ns"]["mean"] < totals["cpu_ns"]["high"]
    again = json.loads(CliRunner().invoke(app, ["run", "e.toml", "--json"]).stdout)
    assert again["kept"] == 4 and again["settings"] == found["settings"]


def test_a_file_leaves_the_text(folder):
    ended = CliRunner().invoke(app, ["simulate", "t.parquet", "--json-file", "a.json"])
    assert "peak resident" in ended.stdout
    SCHEMA.validate(json.loads((folder / "a.json").read_text()))


def test_a_file_that_cannot_be_written_is_refused_before_the_work(folder):
    ended = CliRunner().invoke(app, ["simulate", "absent.parquet", "--json-file", "no/a.json"])
    assert "no" in str(ended.exception) and "absent" not in str(ended.exception)


def test_the_schema_refuses_what_is_not_an_output():
    assert not SCHEMA.is_valid({"allocsim": "0.1.0", "command": "simulate"})
    assert not SCHEMA.is_valid({"command": "list", "policies": []})
    assert not SCHEMA.is_valid(
        {"allocsim": "0.1.0", "command": "check", "policy": "x", "checks": [{}]}
    )


def test_lists_fit_a_terminal_and_say_what_there_is():
    out = CliRunner().invoke(app, ["list"]).stdout
    assert max(map(len, out.splitlines())) <= 80
    for word in ("glibc", "best_fit", "mmap_threshold", "sqlite3", "threshold", "default"):
        assert word in out
    refused = CliRunner().invoke(app, ["list", "policy"])
    assert "did you mean 'policies'" in str(refused.exception)


def test_a_synthetic_workload_has_no_trace():
    refused = CliRunner().invoke(app, ["trace", "head", "churn"])
    assert "churn is a synthetic workload" in str(refused.exception)
