import pytest

from allocsim.errors import InputError
from allocsim.trace import Op, Trace, write_trace
from allocsim.workload import (
    Recorded,
    Synthetic,
    find_workload,
    load_workload,
    open_workload,
    source_identity,
    workload_names,
)

SPEC = 'ops = 100\n[sizes]\ndistribution = "choice"\nsizes = [64]\n'


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "real.parquet"
    ops = Trace.of(op=[Op.MALLOC, Op.FREE] * 50, object=[0] * 100, size=[8, 0] * 50)
    write_trace(path, ops)
    return path


@pytest.mark.parametrize("name", ["churn", "large_buffers", "ramp", "server"])
def test_shipped_workloads_are_found_by_name_and_run(name):
    assert name in workload_names()
    source = load_workload(name, seed=1)
    assert sum(len(batch) for batch in source.batches()) == source.n_ops


def test_a_path_is_taken_from_the_base(tmp_path, recorded):
    (tmp_path / "mine.toml").write_text(SPEC)
    assert load_workload("mine.toml", base=tmp_path).n_ops == 100
    assert load_workload("real.parquet", base=tmp_path).n_ops == 100


def test_a_workload_file_may_take_the_head_of_a_trace_beside_it(tmp_path, recorded):
    (tmp_path / "head.toml").write_text('trace = "real.parquet"\nops = 30\n')
    source = load_workload(str(tmp_path / "head.toml"))
    ops = Trace.concatenate(source.batches(batch_ops=7))
    assert source.n_ops == len(ops) == 30
    whole = Trace.concatenate(load_workload(str(recorded)).batches())
    assert ops.content_hash() == whole[:30].content_hash()


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"unknown workload 'chrun'.*did you mean 'churn'\?"):
        load_workload("chrun")


def test_a_missing_file_is_refused_with_its_place(tmp_path):
    with pytest.raises(InputError, match=r"no workload file .*absent\.toml"):
        load_workload("absent.toml", base=tmp_path)
    (tmp_path / "head.toml").write_text('ops = 3\ntrace = "absent.parquet"\n')
    with pytest.raises(InputError, match=r"head\.toml:2: trace: no workload file"):
        load_workload("head.toml", base=tmp_path)


def identity(spec, seed):
    return source_identity(open_workload(spec, seed))


def test_identity_follows_the_ops_and_nothing_else(recorded):
    spec = Synthetic.model_validate({"sizes": {"distribution": "choice", "sizes": [64]}})
    other = spec.model_copy(update={"ops": 7})
    told = spec.model_copy(update={"description": "the same ops"})
    assert identity(spec, 1) == identity(told, 1)
    assert len({identity(s, seed) for s in (spec, other) for seed in (1, 2)}) == 4
    trace = Recorded(trace=str(recorded))
    assert identity(trace, 1) == identity(trace, 2)
    assert identity(trace, 1) != source_identity(
        open_workload(trace.model_copy(update={"ops": 5}), 1)
    )


def test_a_renamed_trace_is_the_same_workload(recorded, tmp_path):
    copy = tmp_path / "copy.parquet"
    copy.write_bytes(recorded.read_bytes())
    first, second = Recorded(trace=str(recorded)), Recorded(trace=str(copy))
    assert identity(first, 1) == identity(second, 1)
    assert open_workload(second, 1).n_ops == 100


def test_a_file_of_another_kind_is_told_from_a_missing_one(tmp_path):
    (tmp_path / "ops.csv").write_text("op,thread,object,size\n")
    with pytest.raises(InputError, match=r"ops\.csv: .*allocsim trace import"):
        find_workload("ops.csv", tmp_path)
