from dataclasses import replace

import pytest

from allocsim import code_hash
from allocsim.experiment.load import load_experiment
from allocsim.experiment.sweep import expand, settings


def keys(path):
    return [run.key for run in expand(load_experiment(path))]


def test_a_grid_gives_every_combination():
    assert settings({"a": [1, 2], "b": [3]}) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]
    assert settings({}) == [{}]


def test_runs_are_workloads_by_policies_by_settings_by_seeds(experiment_file):
    runs = expand(load_experiment(experiment_file))
    assert [(run.parameters["threshold"], run.seed) for run in runs] == [
        (threshold, seed) for threshold in (1, 10, 100) for seed in (1, 2)
    ]
    assert len({run.key for run in runs}) == 6


def test_keys_stay_the_same_when_the_same_file_is_loaded_again(experiment_file):
    assert keys(experiment_file) == keys(experiment_file)


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ops = 50", "ops = 51"),
        ("sizes = [64]", "sizes = [65]"),
        ("[1, 10, 100]", "[2, 20, 200]"),
        ("repeats = 2", "repeats = 2\nseed = 100"),
        ("repeats = 2", "repeats = 2\nsamples = 7"),
        ("repeats = 2", "repeats = 2\nwalks = 7"),
        ("repeats = 2", "repeats = 2\nreferee = true"),
        ("repeats = 2", "repeats = 2\nwriting = false"),
        ("repeats = 2", "repeats = 2\nkernel = { limit_map_count = 9 }"),
    ],
)
def test_whatever_changes_the_result_changes_all_keys(experiment_file, old, new):
    before = keys(experiment_file)
    change(experiment_file, old, new)
    assert not set(before) & set(keys(experiment_file))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "tiny"', 'name = "other"'),
        ('name = "steady"', 'name = "renamed"\ndescription = "the same ops"'),
        ("tolerance = 0.1", "tolerance = 0.2"),
        ('policies = ["bump.py"]', 'policies = [{ use = "bump.py", label = "other" }]'),
    ],
)
def test_names_change_no_key(experiment_file, old, new):
    before = keys(experiment_file)
    change(experiment_file, old, new)
    assert before == keys(experiment_file)


def hash_of_files_now(policy):
    """The policy's hash in a process that has not computed it yet."""
    code_hash._hash_of_files.cache_clear()
    return code_hash.policy_hash(policy)


def test_the_policys_source_and_what_it_imports_change_the_key(experiment_file, monkeypatch):
    folder = experiment_file.parent
    monkeypatch.syspath_prepend(folder)
    (folder / "bump_helper.py").write_text("def step():\n    return 1\n")
    change(folder / "bump.py", "\n\nclass", "\nfrom bump_helper import step\n\nclass")
    [policy] = load_experiment(experiment_file).policies
    before = hash_of_files_now(policy.policy)
    (folder / "bump_helper.py").write_text("def step():\n    return 2\n")
    between = hash_of_files_now(policy.policy)
    change(folder / "bump.py", "size + 15", "size + 16")
    after = hash_of_files_now(policy.policy)
    assert len({before, between, after}) == 3


def test_the_cost_table_changes_the_key(experiment_file):
    [run, *_] = expand(load_experiment(experiment_file))
    other = replace(run, identity=run.identity | {"costs": "another"})
    assert other.key != run.key
