"""Ops are decoded and checked once for many runs."""

import pytest

from allocsim.engine import ops_cache
from allocsim.errors import InputError
from allocsim.trace import Op, Trace, open_trace, write_trace
from allocsim.workload import from_spec

SIZES = {"distribution": "choice", "sizes": [64]}


@pytest.fixture(autouse=True)
def nothing_decoded():
    ops_cache._decoded.clear()
    yield
    ops_cache._decoded.clear()


def columns(source):
    return [column.tolist() for b in ops_cache.checked_batches(source) for column in b.columns]


def test_a_second_run_gets_the_same_ops_without_decoding(monkeypatch):
    source = from_spec({"ops": 70_000, "sizes": SIZES}, seed=1)
    first = columns(source)
    monkeypatch.setattr(ops_cache, "_decode", None)
    assert columns(from_spec({"ops": 70_000, "sizes": SIZES}, seed=1)) == first
    with pytest.raises(TypeError):
        columns(from_spec({"ops": 70_000, "sizes": SIZES}, seed=2))


def test_a_run_that_ends_early_leaves_nothing_half():
    source = from_spec({"ops": 70_000, "sizes": SIZES}, seed=1)
    next(iter(ops_cache.checked_batches(source)))
    assert not ops_cache._decoded
    assert sum(map(len, ops_cache.checked_batches(source))) == 70_000


def test_a_file_that_changed_is_read_again(tmp_path):
    path = tmp_path / "t.parquet"
    for size in (10, 20):
        write_trace(path, Trace.of(op=[Op.MALLOC], object=[0], size=[size]))
        assert columns(open_trace(path))[3] == [size]


def test_broken_ops_are_refused_every_time(tmp_path):
    path = tmp_path / "t.parquet"
    write_trace(path, Trace.of(op=[Op.MALLOC], object=[0], size=[10]))
    broken = Trace.of(op=[Op.FREE], object=[0], size=[0])
    for _ in range(2):
        with pytest.raises(InputError, match="row 0"):
            columns(broken)
    assert columns(open_trace(path))[3] == [10]


def test_memory_is_limited(monkeypatch):
    monkeypatch.setattr(ops_cache, "MOST_BYTES", 80 * 4000)
    for seed in range(8):
        columns(from_spec({"ops": 900, "sizes": SIZES}, seed))
    assert len(ops_cache._decoded) == 4
    columns(from_spec({"ops": 1200, "sizes": SIZES}, seed=1))  # more than a quarter
    assert len(ops_cache._decoded) == 4
