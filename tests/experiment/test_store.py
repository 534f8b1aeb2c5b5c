import errno
import json
import math
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from allocsim.experiment import store as store_module
from allocsim.experiment.index import update_index
from allocsim.experiment.load import load_experiment
from allocsim.experiment.store import RunStore, StoreError
from allocsim.experiment.sweep import expand


@pytest.fixture
def runs(experiment_file):
    return expand(load_experiment(experiment_file))


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "results")


def test_a_run_comes_back_as_it_was_written(store, runs, made_up):
    store.write(runs[0], made_up({"threshold": 1}), 1.5)
    stored = store.find(runs[0].key)
    assert stored.totals["cpu_ns"] == 500 and math.isnan(stored.totals["external_fragmentation"])
    assert stored.seconds == 1.5 and stored.run["workload"] == "steady"
    assert np.array_equal(stored.table("samples")["resident_bytes"], np.arange(4))
    assert store.find(runs[1].key) is None


def test_a_run_written_again_replaces_the_first(store, runs, made_up):
    store.write(runs[0], made_up({}, cpu_ns=1.0), 1.0)
    store.write(runs[0], made_up({}, cpu_ns=2.0), 1.0)
    assert store.find(runs[0].key).totals["cpu_ns"] == 2.0
    assert store.keys() == {runs[0].key}


def damage_truncated(folder):
    (folder / "samples.parquet").write_bytes(b"PAR1")


def damage_removed(folder):
    (folder / "walks.parquet").unlink()


def damage_manifest(folder):
    (folder / "manifest.json").write_text('{"format": 1, "key"')


def damage_format(folder):
    told = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(told | {"format": 0}))


def damage_list(folder):
    (folder / "manifest.json").write_text("[]")


@pytest.mark.parametrize(
    "damage",
    [damage_truncated, damage_removed, damage_manifest, damage_format, damage_list],
)
def test_a_damaged_run_is_as_good_as_none(store, runs, damage, made_up):
    folder = store.write(runs[0], made_up({}), 1.0).folder
    damage(folder)
    assert store.find(runs[0].key) is None
    store.write(runs[0], made_up({}), 1.0)
    assert store.find(runs[0].key) is not None


def test_a_writer_that_dies_midway_leaves_no_run(store, runs, monkeypatch, made_up):
    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module, "_put_in_place", dies)
    with pytest.raises(KeyboardInterrupt):
        store.write(runs[0], made_up({}), 1.0)
    assert store.find(runs[0].key) is None and store.keys() == set()


def test_drafts_of_killed_writers_are_no_runs_and_can_be_removed(store, runs, made_up):
    store.write(runs[0], made_up({}), 1.0)
    draft = store.root / "runs" / ".draft-abc"
    draft.mkdir()
    (draft / "manifest.json").write_text("{")
    assert store.keys() == {runs[0].key}
    store.remove_drafts()
    assert not draft.exists() and store.find(runs[0].key)


def test_a_full_disk_is_told_with_what_to_do(store, runs, monkeypatch, made_up):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module.pq, "write_table", full)
    with pytest.raises(StoreError, match=r"No space left on device; .* the same command goes on"):
        store.write(runs[0], made_up({}), 1.0)
    assert store.keys() == set() and not list((store.root / "runs").iterdir())


def test_a_place_that_cannot_be_written_is_told(tmp_path, runs, made_up):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write: Not a directory"):
        RunStore(tmp_path / "file").write(runs[0], made_up({}), 1.0)


def indexed(store):
    with closing(sqlite3.connect(store.root / "index.sqlite")) as database:
        query = "SELECT key, value FROM runs JOIN totals USING (key) WHERE name = 'cpu_ns'"
        return dict(database.execute(query).fetchall())


def test_the_index_follows_the_directories(store, runs, made_up):
    for run in runs[:2]:
        store.write(run, made_up(run.parameters), 1.0)
    update_index(store)
    assert indexed(store) == {runs[0].key: 500.0, runs[1].key: 500.0}
    damage_manifest(store.find(runs[0].key).folder)
    store.write(runs[2], made_up(runs[2].parameters), 1.0)
    (store.root / "runs" / runs[0].key).rename(store.root / "away")
    update_index(store)
    assert set(indexed(store)) == {runs[1].key, runs[2].key}


def test_a_damaged_index_is_made_anew(store, runs, made_up):
    store.write(runs[0], made_up({}), 1.0)
    (store.root / "index.sqlite").write_bytes(b"no database" * 1000)
    update_index(store)
    assert indexed(store) == {runs[0].key: 1000.0}


def test_an_index_that_cannot_be_written_is_told_and_no_run_is_lost(store, runs, made_up):
    store.write(runs[0], made_up({}), 1.0)
    (store.root / "index.sqlite").mkdir()
    with pytest.raises(StoreError, match=r"index.sqlite: cannot write: .*runs are kept"):
        update_index(store)
    assert store.keys() == {runs[0].key}
