"""Finding policies by name and path, and what keeps a bad one from doing harm."""

import os
import subprocess
import sys

import pytest

from allocsim.component import source
from allocsim.errors import InputError, SimulationError
from allocsim.experiment.load import load_experiment
from allocsim.experiment.settings import Settings
from allocsim.policy import Policy, load_policy, name_of_class, policy_names, shown_name
from allocsim.runspec import RunSpec
from allocsim.simulation import simulate
from allocsim.trace import Op, Trace

LOOP = """\
from allocsim import Policy


class Loop(Policy):
    def malloc(self, size):
        while size > 0:
            size += 1
        return 0

    def free(self, address):
        pass
"""


def written(tmp_path, text):
    path = tmp_path / "mine.py"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", policy_names())
def test_every_name_is_a_policy(name):
    assert issubclass(load_policy(name), Policy)


def test_a_policy_is_found_by_path_and_class(tmp_path):
    path = written(tmp_path, LOOP)
    assert load_policy(path).__name__ == load_policy(f"{path}:Loop").__name__ == "Loop"


@pytest.mark.parametrize("name", policy_names())
def test_a_shipped_policy_is_called_by_its_name_however_it_came(name):
    assert shown_name(load_policy(name)) == name
    assert load_policy(name_of_class(load_policy(name))) is load_policy(name)
    assert RunSpec("jq", load_policy(name)).policy_name == RunSpec("jq", name).policy_name == name


def test_a_policy_of_a_file_is_called_as_the_file_unless_there_are_others(tmp_path):
    path = written(tmp_path, LOOP)
    assert shown_name(load_policy(path)) == "mine"
    (tmp_path / "two.py").write_text(f"{LOOP}\nclass Other(Loop):\n    pass\n")
    assert shown_name(load_policy(f"{tmp_path}/two.py:Other")) == "Other"
    (tmp_path / "e.toml").write_text(
        'workloads = ["jq"]\npolicies = ["two.py:Loop", "two.py:Other"]'
    )
    labels = [policy.label for policy in load_experiment(str(tmp_path / "e.toml")).policies]
    assert labels == ["Loop", "Other"]


def test_messages_call_a_policy_by_its_name():
    with pytest.raises(InputError, match="best_fit has no parameter 'no'"):
        Settings(pairs=("no=1",)).parameters(load_policy("best_fit"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("frist_fit", "did you mean 'first_fit'"),
        ("nothing.py", "nothing.py: cannot be read: No such file"),
        ("{path}:Missing", "no policy class 'Missing'"),
    ],
)
def test_what_is_not_there_is_told(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        load_policy(name.format(path=written(tmp_path, LOOP)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def broken(:", "mine.py:1: "),
        ("import nothing_like_it", "cannot be imported: ModuleNotFoundError"),
        ("x = 1", "no class in it is derived"),
        (LOOP + LOOP.replace("Loop", "Other"), "several policies, Loop, Other"),
    ],
)
def test_a_file_without_one_policy_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_policy(written(tmp_path, text))


def test_an_endless_loop_is_an_error_with_its_line_interpreted_too(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MAX_ROUNDS", 1000)
    policy = load_policy(written(tmp_path, LOOP))
    trace = Trace.of(op=[Op.MALLOC], object=[0], size=[8])
    with pytest.raises(SimulationError, match=r"malloc \(mine.py:[67]\): a loop that does not end"):
        simulate(trace, policy, mode="interpreted")


@pytest.mark.slow
def test_copies_of_a_file_share_their_compiled_code(tmp_path):
    """The second process finds the code that the first one compiled from another folder."""
    script = (
        "import sys; from allocsim.component.entry import is_cached\n"
        "from allocsim.driver import driver_for; from allocsim.simulation import simulate\n"
        "from allocsim.policy import load_policy; from allocsim.trace import Trace\n"
        "policy = load_policy(sys.argv[1])\n"
        "print(is_cached(type(driver_for(policy)), 'drive_sampled'))\n"
        "simulate(Trace.of(op=[0, 4], object=[0, 0], size=[9, 0]), policy, mode='compiled')\n"
    )
    environment = os.environ | {"ALLOCSIM_CACHE": str(tmp_path / "cache")}
    outputs = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        path = written(tmp_path / folder, LOOP.replace("while size > 0:", "while size > 1000:"))
        command = [sys.executable, "-c", script, path]
        outputs.append(subprocess.run(command, env=environment, capture_output=True, text=True))
    assert [done.stdout.strip() for done in outputs] == ["False", "True"], outputs
    assert [done.returncode for done in outputs] == [0, 0], outputs
