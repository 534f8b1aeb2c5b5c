import numpy as np
import pytest

from allocsim.trace import Op, Trace
from allocsim.workload import Synthetic, from_spec

SIZES = {"distribution": "lognormal", "median": 100, "sigma": 1.0, "high": "64 KiB"}


def trace(seed=1, **keys):
    source = from_spec({"ops": 20_000, "live_objects": 200, "sizes": SIZES, **keys}, seed)
    return Trace.concatenate(source.batches())


def live_counts(ops):
    """Live objects after each op, checking on the way that every op makes sense."""
    size, owner, counts = {}, {}, []
    for i in range(len(ops)):
        op, slot = Op(int(ops.op[i])), int(ops.object[i])
        if op in (Op.MALLOC, Op.CALLOC, Op.ALIGNED_ALLOC):
            assert slot not in size and ops.size[i] >= 1
            size[slot], owner[slot] = int(ops.size[i]), int(ops.thread[i])
        elif op is Op.FREE:
            del size[slot]
        elif op is Op.REALLOC:
            assert slot in size and ops.size[i] >= 1
            size[slot] = int(ops.size[i])
        elif op in (Op.TOUCH, Op.READ):
            assert 0 <= ops.offset[i] <= ops.offset[i] + ops.size[i] <= size[slot]
        counts.append(len(size))
    return np.array(counts)


@pytest.mark.parametrize("free_order", ["random", "lifo", "fifo", "recent"])
@pytest.mark.parametrize("threads", [1, 3])
def test_ops_make_sense_and_stay_in_their_slots(free_order, threads):
    keys = {
        "threads": threads,
        "free_order": free_order,
        "cross_thread_frees": 0.2,
        "calls": {"calloc": 0.2, "aligned_alloc": 0.2, "realloc": 0.1},
        "accesses": {"touch": 0.1, "read": 0.1},
    }
    source = from_spec({"ops": 20_000, "live_objects": 50, "sizes": SIZES, **keys}, 3)
    ops = Trace.concatenate(source.batches())
    counts = live_counts(ops)
    assert len(ops) == source.n_ops == 20_000
    assert ops.object.max() < source.n_slots
    assert set(ops.thread) == set(range(threads))
    assert 0.85 * 50 * threads < counts[5_000:].mean() < 1.15 * 50 * threads


def test_the_same_seed_gives_the_same_ops_whatever_the_batches():
    spec = {"ops": 150_000, "sizes": SIZES, "think_ns": 10.0}
    hashes = {
        Trace.concatenate(from_spec(spec, 7).batches(batch_ops)).content_hash()
        for batch_ops in (1_000, 65_536, 70_001, 10**6)
    }
    assert len(hashes) == 1
    assert {Trace.concatenate(from_spec(spec, 8).batches()).content_hash()}.isdisjoint(hashes)


def test_no_batch_is_longer_than_asked_for():
    lengths = [len(b) for b in from_spec({"ops": 100_001, "sizes": SIZES}, 1).batches(30_000)]
    assert lengths == [30_000, 30_000, 30_000, 10_001]


def test_one_decision_leaves_the_others_alone():
    plain, with_calloc = trace(), trace(calls={"calloc": 0.5})
    assert np.array_equal(plain.size, with_calloc.size)
    assert np.array_equal(plain.object, with_calloc.object)
    assert (with_calloc.op == Op.CALLOC).any()


def test_shares_of_calls_come_out_as_asked():
    ops = trace(
        ops=100_000,
        calls={"calloc": 0.3, "aligned_alloc": 0.1, "alignment": 256, "realloc": 0.05},
        accesses={"touch": 0.1, "read": 0.02, "written": 0.5},
    )
    allocations = np.isin(ops.op, [Op.MALLOC, Op.CALLOC, Op.ALIGNED_ALLOC])
    assert np.mean(ops.op[allocations] == Op.CALLOC) == pytest.approx(0.3, abs=0.02)
    assert np.mean(ops.op[allocations] == Op.ALIGNED_ALLOC) == pytest.approx(0.1, abs=0.02)
    assert set(ops.alignment[ops.op == Op.ALIGNED_ALLOC]) == {256}
    assert np.mean(ops.op == Op.REALLOC) == pytest.approx(0.05, abs=0.01)
    assert np.mean(ops.op == Op.TOUCH) == pytest.approx(0.1, abs=0.01)
    assert np.mean(ops.op == Op.READ) == pytest.approx(0.02, abs=0.01)
    assert np.array_equal(ops.written[allocations], (ops.size[allocations] + 1) // 2)


def freed_age(ops):
    """For each free, how many live objects are younger than the one freed."""
    order, ages = [], []
    for op, slot in zip(ops.op, ops.object, strict=True):
        if op == Op.FREE:
            ages.append(len(order) - 1 - order.index(slot))
            order.remove(slot)
        else:
            order.append(slot)
    return np.array(ages)


@pytest.mark.parametrize(
    ("free_order", "low", "high"),
    [("lifo", 0, 0), ("fifo", 80, 120), ("random", 40, 60), ("recent", 3, 7)],
)
def test_frees_take_the_objects_that_their_order_says(free_order, low, high):
    ops = trace(ops=10_000, live_objects=100, free_order=free_order, recent_objects=5.0)
    assert low <= freed_age(ops)[2_000:].mean() <= high


@pytest.mark.parametrize(
    ("shape", "at", "factors"),
    [
        ("square", [2_400, 4_900], [1.8, 0.2]),
        ("sawtooth", [2_500, 4_950], [1.0, 1.8]),
        ("trapezoid", [2_400, 4_900], [1.8, 0.2]),
        ("sine", [1_500, 4_000], [1.7, 0.25]),
    ],
)
def test_live_objects_follow_the_phases(shape, at, factors):
    phases = {"shape": shape, "amplitude": 0.8, "period_ops": 5_000}
    counts = live_counts(trace(live_objects=200, phases=phases))
    expected = [200 * factor for factor in factors]
    assert counts[5_000 + np.array(at)] == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("ops", [1, 2, 999, 1_000])
@pytest.mark.parametrize("threads", [1, 4])
def test_everything_can_be_freed_at_the_end(ops, threads):
    counts = live_counts(trace(ops=ops, threads=threads, live_objects=300, free_at_end=True))
    assert counts[-1] == 0 and len(counts) == ops


def test_other_threads_free_the_share_they_are_asked_to():
    ops = trace(threads=4, cross_thread_frees=0.25, ops=50_000)
    owner, foreign = {}, []
    for op, slot, thread in zip(ops.op, ops.object, ops.thread, strict=True):
        if op == Op.FREE:
            foreign.append(owner[slot] != thread)
        else:
            owner[slot] = thread
    assert np.mean(foreign) == pytest.approx(0.25, abs=0.02)


def test_think_time_is_exponential_with_its_mean():
    think_ns = trace(think_ns=1_000.0).think_ns
    assert think_ns.mean() == pytest.approx(1_000, rel=0.05)
    assert think_ns.std() == pytest.approx(1_000, rel=0.05)
    assert not trace().think_ns.any()


def test_realloc_grows_by_its_factor_up_to_the_largest_size():
    sizes = {"distribution": "choice", "sizes": [100]}
    ops = trace(sizes=sizes, calls={"realloc": 0.2, "realloc_growth": 2.0})
    assert set(ops.size[ops.op == Op.REALLOC]) == {100}
    sizes = {"distribution": "choice", "sizes": [100, 250], "weights": [1.0, 0.0]}
    ops = trace(sizes=sizes, calls={"realloc": 0.2, "realloc_growth": 2.0})
    assert set(ops.size[ops.op == Op.REALLOC]) == {100, 200}


@pytest.mark.slow
def test_a_long_stream_keeps_memory_flat():
    import resource

    def stream(ops):
        for _ in from_spec({"ops": ops, "sizes": SIZES}, 1).batches():
            pass
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert stream(20_000_000) <= 1.02 * stream(2_000_000)


def test_the_provenance_holds_what_is_needed_to_make_it_again():
    source = from_spec({"ops": 1_000, "sizes": SIZES}, 5)
    told = source.provenance.extras
    again = from_spec(told["specification"], told["seed"])
    assert isinstance(again.spec, Synthetic)
    assert (
        Trace.concatenate(again.batches()).content_hash()
        == Trace.concatenate(source.batches()).content_hash()
    )
