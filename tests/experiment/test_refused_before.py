"""What would fail at run time is refused before anything runs: in one line, with exit code 2."""

import pytest

from allocsim.errors import InputError
from allocsim.experiment.load import load_experiment
from allocsim.experiment.sweep import count_runs, expand

BODY = """
[[policies]]
use = "mmap_only"
[[workloads]]
name = "w"
ops = 300
live_objects = 20
sizes = { distribution = "uniform", low = 16, high = 1000 }
"""
CODE = """
from pathlib import Path
from allocsim import Param, Policy

Path(__file__).with_name("imported").touch()


class Mine(Policy):
    step = Param(1, low=0, high=10)

    def malloc(self, size):
        return 0

    def free(self, address):
        pass
"""


@pytest.fixture
def refused(tmp_path, allocsim_here):
    """Runs an experiment that must be refused; gives the lines about it, without its path."""

    def run(text, *options):
        path = tmp_path / "experiment.toml"
        path.write_text(text)
        code, shown, errors = allocsim_here("run", path, "-o", tmp_path / "results", *options)
        assert (code, shown) == (2, "")
        assert not (tmp_path / "results").exists()
        lines = errors.removeprefix("error: ").splitlines()
        assert all(line.startswith(f"{path}:") for line in lines)
        return [line.removeprefix(f"{path}:") for line in lines]

    return run


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed = 9223372036854775807\nrepeats = 2" + BODY, "1: seed: must be at most 92233720"),
        (BODY + "threads = 4000\n", "4: workloads[0]: the workload has 4000 threads; at most "),
        (BODY + "threads = 60\nlive_objects = 100000000\n", "object slots; at most"),
        (BODY + "phases = { shape = 'sine', period_ops = 10000000000000000 }\n",
         "9: workloads[0].phases.period_ops: must be at most 1000000000000, not "),
        (BODY + "think_ns = 1e12\nops = 1000000000\n", "must be at most 3e+15 ns, a month"),
        (BODY + "think_ns = inf\n", "9: workloads[0].think_ns: must be a finite number, not inf"),
        (BODY + "[kernel]\nstack_limit_bytes = '128 TiB'\n", "stack_limit_bytes must be less than"),
        (BODY + "[kernel]\nlimit_map_count = 100000000000000000000\n",
         "10: kernel.limit_map_count: is an integer of more than 64 bits"),
        (BODY + "[kernel]\nlimit_map_count = 1e20\n",
         "10: kernel.limit_map_count: must be an integer, not 1e+20"),
        (BODY + "[kernel]\nhuge_pages = 'always'\nmemory_bytes = '1M'\n", "exclude each other"),
        ("costs = 'a\\u0000b'".replace("'", '"') + BODY, "1: costs: "),
        ("costs = '/dev/zero'" + BODY, "1: costs: /dev/zero: cannot be read: it is a device"),
        ("costs = '.'" + BODY, "it is a folder, not a file"),
        (f"costs = '{'x' * 5000}'" + BODY, "File name too long"),
        (BODY.replace('"mmap_only"', f'"{"x" * 5000}"'), "3: policies[0].use: unknown policy"),
        (BODY.replace('"mmap_only"', r'"a\u0000b.py"'), "no file can have this name"),
        (BODY.replace('name = "w"', f'use = "{"x" * 5000}"'), "5: workloads[0].use: unknown"),
        (BODY + r'trace = "a\u0000b"', "workloads[0].trace: "),
        (BODY + "[grid]\nbrk_failures = [nan]\n", "must hold numbers or sizes such as"),
        (BODY + "[grid]\nx = { from = 1, to = inf, factor = 2 }\n", "must hold numbers or sizes"),
        (BODY + "[grid]\nx = [[1], [1]]\n", "must hold numbers or sizes"),
        (BODY + "[grid]\nx = [1979-05-27, 1979-05-27]\n", "must hold numbers or sizes"),
        ("policies = [[[1]]]\nworkloads = [1979-05-27]", "1: policies[0]: must be a table"),
        ("policies = 07:32:00\nworkloads = {}", "1: policies: must be an array"),
    ],
)  # fmt: skip
def test_one_line_says_what_cannot_be(refused, text, expected):
    lines = refused(_with_last_keys(text))
    assert any(expected in line for line in lines), lines
    assert all(line.isprintable() for line in lines)


def _with_last_keys(text):
    """The text without the numbers of the workload that a later line gives anew."""
    lines = text.splitlines()
    keys = [line.partition(" = ")[0] for line in lines]
    again = {key for key in ("ops", "live_objects") if keys.count(key) > 1}
    return "\n".join(
        line for i, line in enumerate(lines) if keys[i] not in again or keys[i] not in keys[i + 1 :]
    )


def test_runs_are_counted_before_they_are_made(refused, tmp_path):
    axes = "".join(
        f"{name} = {{ from = 65536, to = 1065536, step = 1000 }}\n"
        for name in ("mmap_threshold", "trim_threshold", "top_pad")
    )
    text = "repeats = 4\n" + BODY.replace("mmap_only", "glibc") + "[grid]\n" + axes
    [line] = refused(text)
    assert line == (
        " 4,012,012,004 runs, more than 1,000,000; choose fewer values for the grid, "
        "or allow that many: --max-runs 4012012004"
    )
    [line] = refused(text, "--max-runs", "7")
    assert "more than 7;" in line


def test_the_number_of_runs_may_be_allowed(tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text('repeats = 3\nworkloads = ["churn", "sqlite3"]\npolicies = ["glibc"]\n'
                    "[grid]\nmmap_threshold = [1, 2, 3]\ntop_pad = [1, 2]\n")  # fmt: skip
    experiment = load_experiment(path)
    assert count_runs(experiment) == (3 + 1) * 3 * 2
    with pytest.raises(InputError, match="24 runs, more than 23"):
        expand(experiment, max_runs=23)
    runs = expand(experiment, max_runs=24)
    assert len({run.key for run in runs}) == 24


class TestPoliciesInFiles:
    """They are code."""

    EXPERIMENT = BODY.replace("mmap_only", "mine.py")

    @pytest.fixture(autouse=True)
    def policy(self, tmp_path):
        (tmp_path / "mine.py").write_text(CODE)
        self.imported = tmp_path / "imported"

    @pytest.mark.parametrize(
        "mistake",
        [
            "sampels = 3",
            "costs = 'absent.toml'",
            "seed = -1",
            "[grid]\nstep = 'much'",
            "[kernel]\nbits = 3",
            "[[workloads]]\nname = 'w'\nuse = 'churn'",
            "[[workloads]]\ntrace = 'absent.parquet'",
            "[[policies]]\nuse = 'absent.py'",
            "[[policies]]\nuse = 'glibc'\nparameters = { arena_max = -7 }",
            "[[policies]]\nuse = 'glibc'\n[grid]\narena_max = [-7]",
        ],
    )
    def test_are_not_imported_while_anything_else_is_wrong(self, refused, mistake):
        text = self.EXPERIMENT + mistake if mistake[0] == "[" else mistake + self.EXPERIMENT
        assert len(refused(text)) == 1
        assert not self.imported.exists()

    def test_are_not_imported_where_no_results_can_be_written(self, tmp_path, allocsim_here):
        experiment, taken = tmp_path / "experiment.toml", tmp_path / "taken"
        experiment.write_text(self.EXPERIMENT)
        taken.touch()
        for folder in (taken, taken / "deep"):
            code, _, errors = allocsim_here("run", experiment, "-o", folder)
            assert code == 2
            assert errors == f"error: {folder}: cannot write: {taken} is no folder\n"
        assert not self.imported.exists()

    def test_are_imported_and_checked_when_the_rest_is_right(self, refused):
        [step, pad] = refused(self.EXPERIMENT + "[grid]\nstep = [1, 11]\npad = [1]\n")
        assert "grid.step: parameter step: 11 is out of range" in step
        assert "grid.pad: unknown parameter of the policies 'pad'; allowed: step" in pad
        assert self.imported.exists()

    @pytest.mark.parametrize("name", ["mine.py", "mine.py:Mine", "{here}/mine.py", "{here}/mine"])
    def test_are_refused_on_request(self, refused, tmp_path, name):
        use = name.format(here=tmp_path)
        [line] = refused(BODY.replace("mmap_only", use), "--no-code")
        assert "would run as code, which --no-code refuses" in line or "unknown policy" in line
        assert not self.imported.exists()

    def test_are_found_by_their_path_only(self, refused, tmp_path):
        outside = "../" * 30 + str(tmp_path / "mine").lstrip("/")
        for name in (outside, str(tmp_path / "mine")):
            [line] = refused(BODY.replace("mmap_only", name))
            assert "unknown policy" in line
        assert not self.imported.exists()

    def test_shipped_policies_are_no_strange_code(self, tmp_path):
        path = tmp_path / "experiment.toml"
        path.write_text(BODY.replace("mmap_only", "first_fit"))
        [policy] = load_experiment(path, no_code=True).policies
        assert policy.label == "first_fit"
