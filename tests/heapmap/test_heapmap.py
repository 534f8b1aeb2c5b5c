"""A heap map shows what the run did: every block, and every page that is resident."""

import numpy as np
import pytest
from mixed_ops import mixed_ops

from allocsim import simulate
from allocsim.heapmap.blocks import lifetimes
from allocsim.trace import Op, Trace, write_trace

RESIDENT = (4, 5)
THREADS = """
ops = 1000
threads = 3
live_objects = 40
[sizes]
distribution = "uniform"
low = 16
high = 4096
"""


def assert_sums(page, number):
    """Blocks sum to the live bytes and pages to the resident ones, at every moment."""
    _, size, born, died, own = page.blocks(number)
    moments, live, resident = (
        page.column(number, f"moment_{name}") for name in ("n_ops", "live_bytes", "resident_bytes")
    )
    pages, state, first, last = (
        page.column(number, f"period_{name}") for name in ("n_pages", "state", "first", "last")
    )
    assert len(moments) > 50
    for at, n_ops in enumerate(moments.tolist()):
        alive = (born < n_ops) & (died >= n_ops) & (own == 0)
        assert size[alive].sum() == live[at]
        shown = np.isin(state, RESIDENT) & (first <= at) & (last > at)
        assert pages[shown].sum() * 4096 == resident[at]
    return moments, live, resident


@pytest.mark.parametrize("policy", ["glibc", "first_fit", "mmap_only"])
def test_blocks_and_pages_sum_to_what_the_run_counted(make_page, policy):
    trace = mixed_ops()
    moments, live, resident = assert_sums(make_page(trace, "--policy", policy), 0)
    samples = simulate(trace, policy).samples
    at = np.searchsorted(moments, samples["op"])
    assert (live[at] == samples["live_bytes"]).all()
    assert (resident[at] == samples["resident_bytes"]).all()


def test_blocks_of_threads_that_meet_are_those_of_the_run(make_page, tmp_path):
    workload = tmp_path / "threads.toml"
    workload.write_text(THREADS)
    assert_sums(make_page(workload), 0)


def test_a_machine_with_little_memory_shows_swapped_pages(make_page):
    page = make_page(mixed_ops(), "--memory", "256K")
    assert_sums(page, 0)
    assert 3 in page.column(0, "period_state")


def test_two_policies_share_a_page(make_page):
    page = make_page(mixed_ops(400), "--policy", "glibc", "--policy", "glibc:mmap_threshold=4K")
    assert [each["policy"] for each in page.maps] == ["glibc", "glibc mmap_threshold=4K"]
    assert_sums(page, 0)
    assert_sums(page, 1)


def test_a_rest_of_a_mapping_stays_where_it_is():
    op = [Op.MMAP, Op.MUNMAP, Op.MUNMAP]
    ops = Trace.of(op=op, object=0, size=[12288, 4096, 8192], offset=[0, 0, 4096]).columns()
    found = lifetimes(ops, np.array([1 << 20, 0, 0]))
    assert found.address.tolist() == [1 << 20, (1 << 20) + 4096]
    assert found.size_bytes.tolist() == [12288, 8192]
    assert (found.born.tolist(), found.died.tolist()) == ([0, 1], [1, 2])


def test_a_run_without_blocks_is_a_page_too(make_page):
    page = make_page(Trace.of(op=[Op.MARK], object=[-1], size=[0]))
    assert page.maps[0]["n_blocks"] == 0


def test_the_page_asks_for_nothing(make_page):
    text = make_page(mixed_ops(100)).text
    assert "default-src 'none'" in text
    assert not any(word in text for word in ("http:", "https:", "src=", "url(", "@import"))


def test_a_name_is_text(make_page, tmp_path):
    workload = tmp_path / "a<script>alert(1)<!--.parquet"
    write_trace(workload, mixed_ops(50))
    assert "<script>alert" not in make_page(workload).text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "glibc"] * 3, "error: 3 policies; a page shows 2 at most, side by side\n"),
        (["--policy", "glibx"], "error: unknown policy 'glibx'"),
    ],
)
def test_wrong_input_is_one_message(allocsim_here, tmp_path, arguments, message):
    code, out, errors = allocsim_here("heapmap", "churn", "-o", tmp_path / "m.html", *arguments)
    assert (code, out) == (2, "")
    assert errors.startswith(message)
    assert not (tmp_path / "m.html").exists()


def test_an_output_that_cannot_be_written_is_refused_first(allocsim_here, tmp_path):
    code, _, errors = allocsim_here("heapmap", "absent", "-o", tmp_path / "no" / "m.html")
    assert code == 2
    assert "there is no folder" in errors
