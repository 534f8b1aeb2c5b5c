"""The store of runs: whole or absent, whatever happens to its files or to the one who writes."""

import dataclasses
import errno
import json
import math
import os
import shutil
import stat
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from allocsim.errors import OutputError
from allocsim.experiment import records, segments
from allocsim.experiment import store as store_module
from allocsim.experiment.load import load_experiment
from allocsim.experiment.records import DamagedRecord, Record
from allocsim.experiment.segments import encode_segment
from allocsim.experiment.store import RunStore, StoreError
from allocsim.experiment.sweep import expand


@pytest.fixture
def runs(experiment_file):
    return expand(load_experiment(experiment_file))


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "results" / "one")


@pytest.fixture
def record(made_up):
    """The record of a run, with a made-up result."""
    return lambda run, **options: Record.of(run, made_up(run.parameters, **options), 1.5)


def put(store, *written):
    """Stores records in a segment of their own."""
    with store.writing():
        for record in written:
            store.write(record)


def segment_files(store):
    return sorted((store.root / "runs").iterdir())


def test_a_run_comes_back_as_it_was_written(store, runs, record):
    put(store, record(runs[0]))
    found = store.find([runs[0].key, runs[2].key])
    assert found.keys() == {runs[0].key}
    stored = found[runs[0].key]
    assert stored.totals["cpu_ns"] == 500 and math.isnan(stored.totals["external_fragmentation"])
    assert stored.seconds == 1.5
    whole = store.record(runs[0].key)
    assert json.loads(whole.run)["workload"] == "steady"
    assert np.array_equal(whole.table("samples")["resident_bytes"], np.arange(4))
    assert store.record(runs[2].key) is None


def test_many_runs_share_a_file(store, runs, record):
    put(store, *map(record, runs))
    assert len(segment_files(store)) == 1
    assert store.find(run.key for run in runs).keys() == {run.key for run in runs}


def test_of_a_run_that_was_made_again_the_later_record_counts(store, runs, record):
    older, newer = record(runs[0], cpu_ns=1.0), record(runs[0], cpu_ns=2.0)
    put(store, newer)
    put(store, older)
    assert store.find([runs[0].key])[runs[0].key].totals["cpu_ns"] == 1.0
    assert store.record(runs[0].key).result == newer.result


def damage_truncated(content):
    return content[: len(content) // 2]


def damage_emptied(content):
    return b""


def damage_footer(content):
    return content[:-200] + b"\xff" * 150 + content[-50:]


def damage_text(content):
    return b'{"format": 2}'


def damage_first_page(content):
    return content[:60] + bytes([content[60] ^ 1]) + content[61:]


@pytest.mark.parametrize(
    "damage",
    [damage_truncated, damage_emptied, damage_footer, damage_text, damage_first_page],
)
def test_the_runs_of_a_damaged_segment_are_as_good_as_none(store, runs, damage, record):
    put(store, record(runs[0]))
    [file] = segment_files(store)
    file.write_bytes(damage(file.read_bytes()))
    assert store.find([runs[0].key]) == {}
    put(store, record(runs[0]))
    assert store.find([runs[0].key]).keys() == {runs[0].key}


def test_no_flipped_bit_of_a_segment_gives_another_result(store, runs, record):
    sound = record(runs[0])
    put(store, sound)
    [file] = segment_files(store)
    content = file.read_bytes()
    for place in np.random.default_rng(7).integers(len(content), size=60):
        file.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        for found in store.find([runs[0].key]).values():
            assert found.result == sound.result
            assert repr(found.totals) == repr(sound.checked().totals)


def changed_total(record):
    return dataclasses.replace(record, totals=record.totals.replace("500.0", "600.0"))


def changed_sample(record):
    samples = {name: column + 1 for name, column in record.tables["samples"].items()}
    return dataclasses.replace(record, tables=record.tables | {"samples": samples})


def changed_seconds(record):
    return dataclasses.replace(record, seconds=2.0)


def another_run(record):
    return dataclasses.replace(record, run=record.run.replace('"seed": 1', '"seed": 2'))


def resealed(totals):
    """Damage that the hashes cover, as by a fault of the writer."""

    def damage(record):
        result = records._result_hash(totals, record.tables)
        head = record.key, record.run, totals, record.provenance, record.seconds, record.written_ns
        seal = records._seal(*head, result)
        return dataclasses.replace(record, totals=totals, result=result, seal=seal)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        changed_total,
        changed_sample,
        changed_seconds,
        another_run,
        resealed("{}"),
        resealed('{"cpu_ns": "many"}'),
        resealed('{"cpu_ns": true}'),
        resealed('{"cpu_ns": [1]}'),
        resealed("[1, 2]"),
        resealed("[" * 100_000),
        resealed('{"a":' * 100_000),
        resealed("no JSON"),
    ],
)
def test_a_record_that_was_changed_is_none_and_the_others_stay(store, runs, damage, record):
    put(store, damage(record(runs[0])), record(runs[1]), record(runs[2]))
    assert store.find(run.key for run in runs[:3]).keys() == {runs[1].key, runs[2].key}
    assert store.record(runs[0].key) is None


def other_version(table):
    return table.replace_schema_metadata({"allocsim.results": str(segments.FORMAT - 1)})


def fewer_columns(table):
    return table.drop_columns(["seal"])


def texts_as_bytes(table):
    at = table.schema.get_field_index("totals")
    return table.set_column(at, "totals", table["totals"].cast(pa.binary()))


@pytest.mark.parametrize("change", [other_version, fewer_columns, texts_as_bytes])
def test_segments_of_another_format_are_not_read_and_stay(store, runs, change, record):
    put(store, record(runs[0]))
    [file] = segment_files(store)
    pq.write_table(change(pq.read_table(file)), file)
    for _ in range(12):  # enough for a merge
        put(store, record(runs[1]))
    assert store.find([runs[0].key, runs[1].key]).keys() == {runs[1].key}
    assert file.exists()


def test_equal_results_have_equal_hashes_whenever_they_were_computed(runs, record):
    one, other = record(runs[0]), record(runs[0])
    assert one.written_ns != other.written_ns and one.seal != other.seal
    assert one.result == other.result != record(runs[0], cpu_ns=7.0).result


def test_a_fraction_in_a_table_is_refused(runs, made_up):
    result = made_up({})
    result.samples["op"] = result.samples["op"] / 3
    with pytest.raises(TypeError):
        Record.of(runs[0], result, 1.0)


def test_totals_must_be_there(runs, made_up):
    result = made_up({})
    result.totals.clear()
    with pytest.raises(DamagedRecord, match="there are none"):
        Record.of(runs[0], result, 1.0).stored()


def test_many_small_segments_become_one_without_loss(store, runs, record):
    for _ in range(3):
        for run in runs:
            put(store, record(run))
    latest = record(runs[0], cpu_ns=9.0)
    put(store, latest)
    assert len(segment_files(store)) < 9
    assert store.find(run.key for run in runs).keys() == {run.key for run in runs}
    assert store.record(runs[0].key).result == latest.result


def test_finished_runs_reach_the_disk_while_others_are_made(store, runs, record, monkeypatch):
    written = threading.Event()

    def write_whole(path, content):
        path.write_bytes(content)
        written.set()

    monkeypatch.setattr(store_module, "write_whole", write_whole)
    with store.writing():
        store.write(record(runs[0]))
        assert written.wait(30)
        store.flush()
        assert store.find([runs[0].key])


def test_large_records_do_not_pile_up_in_memory(store, runs, record, monkeypatch):
    monkeypatch.setattr(store_module, "_FLUSH_AFTER_S", 3600)
    monkeypatch.setattr(store_module, "_FLUSH_BYTES", record(runs[0]).n_bytes * 3)
    with store.writing():
        for run in runs:
            store.write(record(run))
        assert segment_files(store)


def test_drafts_of_killed_writers_are_no_runs_and_go(store, runs, record):
    put(store, record(runs[0]))
    drafts = [folder / ".draft-0123456789abcdef" for folder in (store.root, store.root / "runs")]
    for draft in drafts:
        draft.write_bytes(b"PAR1")
    assert store.find([runs[0].key])
    put(store)
    assert not any(draft.exists() for draft in drafts) and store.find([runs[0].key])


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_reported_with_what_to_do_and_leaves_no_pieces(
    store, runs, record, monkeypatch
):
    with (
        monkeypatch.context() as patch,
        pytest.raises(StoreError, match=r"No space left on device; .* the same command goes on"),
    ):
        patch.setattr(os, "fsync", full_disk)
        put(store, record(runs[0]))
    assert segment_files(store) == []
    put(store, record(runs[0]))
    assert store.find([runs[0].key])


def test_a_disk_that_fills_up_in_the_background_stops_the_next_run(
    store, runs, record, monkeypatch
):
    refused = threading.Event()

    def write_whole(*_):
        refused.set()
        full_disk()

    monkeypatch.setattr(store_module, "write_whole", write_whole)
    monkeypatch.setattr(store_module, "_FLUSH_AFTER_S", 0)
    with pytest.raises(StoreError, match="No space left"), store.writing():
        store.write(record(runs[0]))
        assert refused.wait(30)
        with pytest.raises(StoreError, match="No space left"):
            store.write(record(runs[1]))


def test_a_place_that_cannot_be_written_is_named(tmp_path, runs, record):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is no folder"):
        put(RunStore(tmp_path / "file"), record(runs[0]))


def test_two_writers_exclude_each_other(store):
    with (
        store.writing(),
        pytest.raises(StoreError, match="another sweep is writing there; wait for it"),
        RunStore(store.root).writing(),
    ):
        pass
    put(store)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_and_folders_follow_the_umask(store, runs, record, umask):
    before = os.umask(umask)
    try:
        put(store, record(runs[0]))
    finally:
        os.umask(before)
    for path in store.root.rglob("*"):
        full = 0o777 if path.is_dir() else 0o666
        assert stat.S_IMODE(path.stat().st_mode) == full & ~umask, path


def test_planted_links_are_not_followed(store, runs, record, tmp_path):
    victim = tmp_path / "victim"
    store.root.mkdir(parents=True)
    (store.root / ".lock").symlink_to(victim)
    with pytest.raises(StoreError, match=r"cannot write: Too many levels of symbolic links"):
        put(store, record(runs[0]))
    assert not victim.exists()


class TestNeighbours:
    """What two experiments share is computed once."""

    @pytest.fixture
    def other(self, store, runs, record):
        other = RunStore(store.root.with_name("other"))
        put(other, record(runs[0]), record(runs[1]))
        return other

    def test_runs_are_copied_from_results_beside_these(self, store, other, runs):
        with store.writing():
            adopted = store.adopt(run.key for run in runs)
        assert adopted.keys() == {runs[0].key, runs[1].key}
        shutil.rmtree(other.root)
        assert store.find(run.key for run in runs).keys() == adopted.keys()

    def test_damaged_ones_are_not(self, store, other, runs):
        [file] = segment_files(other)
        file.write_bytes(file.read_bytes()[:300])
        with store.writing():
            assert store.adopt(run.key for run in runs) == {}

    def test_nor_are_those_that_anybody_may_have_written(self, store, other, runs, monkeypatch):
        folder = other.root / "runs"
        folder.chmod(0o777)
        with store.writing():
            assert store.adopt(run.key for run in runs) == {}
        folder.chmod(0o755)
        monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
        with store.writing():
            assert store.adopt(run.key for run in runs) == {}


def test_folders_of_the_older_format_are_left_alone(store, runs, record):
    old = store.root / "runs" / runs[0].key
    old.mkdir(parents=True)
    (old / "manifest.json").write_text('{"format": 2}')
    put(store)
    assert store.find([runs[0].key]) == {} and old.is_dir()


def test_a_segment_is_a_table_for_other_tools(tmp_path, runs, record):
    file = Path(tmp_path / "segment.parquet")
    file.write_bytes(encode_segment([record(run) for run in runs[:2]]))
    table = pq.read_table(file, columns=["key", "seconds", "samples"])
    assert table["key"].to_pylist() == [run.key for run in runs[:2]]
    assert table["samples"][0].as_py()[3]["resident_bytes"] == 3
