"""A results folder that is damaged gives one line, whatever the damage."""

import json
import random

import pytest

from allocsim.errors import InputError
from allocsim.experiment.command import run_command
from allocsim.experiment.manifest import seal_manifest
from allocsim.experiment.results import read_results


@pytest.fixture
def folder(experiment_file, simulations, tmp_path, console):
    """The results of the tiny experiment."""
    run_command(str(experiment_file), tmp_path / "out", 1, False, console)
    return tmp_path / "out"


def changes_of(content):
    """Contents that differ from a sound one: cut, garbled, emptied, of other shapes and values."""
    dice = random.Random(3)
    for _ in range(22):
        place = dice.randrange(len(content))
        yield content[:place]
        yield (
            content[:place]
            + bytes([content[place] ^ 1 << dice.randrange(8)])
            + content[place + 1 :]
        )
    yield from (b"", b"{}", b"[]", b"1", b"null", b"\xff\xfe", b"[" * 200_000, b'{"a":' * 200_000)


def told(folder):
    """What is said of a folder, or None if it is believed."""
    try:
        read_results(folder)
    except InputError as error:
        return str(error)
    return None


def test_a_changed_manifest_is_not_believed(folder):
    path = folder / "manifest.json"
    sound = path.read_bytes()
    assert told(folder) is None
    for content in changes_of(sound):
        path.write_bytes(content)
        same = content.strip() == sound.strip()
        message = told(folder)
        assert same or (message and "\n" not in message and "allocsim run" in message), content


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", None), ("labels", "glibc"), ("labels", [1]), ("units", []),
        ("workloads", {"a": 1}), ("turns", {}),
        ("specification", {"tolerance": "wide", "policies": []}),
        ("specification", {"tolerance": float("nan"), "policies": []}), ("specification", 3),
        ("runs_sha256", "0"), ("format", "3"), ("format", 10**30), ("format", 4),
    ],
)  # fmt: skip
def test_nor_is_one_of_other_shape_that_fits_its_hash(folder, name, value):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    path.write_bytes(seal_manifest(manifest | {name: value}))
    message = told(folder)
    assert message and "\n" not in message and "allocsim run EXPERIMENT" in message


def test_nor_is_a_changed_table(folder):
    path = folder / "runs.parquet"
    sound = path.read_bytes()
    for content in changes_of(sound):
        path.write_bytes(content)
        message = told(folder)
        assert content == sound or (
            message and "allocsim run EXPERIMENT makes" in message.replace("`", "")
        )


@pytest.mark.parametrize("name", ["manifest.json", "runs.parquet"])
def test_a_file_that_is_missing_or_none_is_named(folder, name):
    (folder / name).unlink()
    assert str(folder) in told(folder)
    (folder / name).mkdir()
    assert told(folder) == f"{folder / name}: cannot be read: it is a folder, not a file"


def test_a_folder_without_its_runs_says_so_where_they_are_needed(folder):
    [segment] = (folder / "runs").iterdir()
    segment.unlink()
    results = read_results(folder)
    assert len(results.rows) == 6
    with pytest.raises(InputError, match=r"missing or damaged; `allocsim run EXPERIMENT` computes"):
        results.stored(results.rows[0])


def test_a_copied_folder_is_complete(folder, tmp_path):
    moved = folder.rename(tmp_path / "elsewhere")
    results = read_results(moved)
    assert results.stored(results.rows[0]).table("samples")["op"].tolist() == [0, 1, 2, 3]
