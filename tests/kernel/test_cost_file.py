"""Cost tables: what a file may say, and what is refused with file and key."""

from pathlib import Path

import pytest

from allocsim.errors import InputError
from allocsim.kernel.costs import SHIPPED, CostTable, Event

CONTEST = "\n".join(
    f"{clock}{end}_ns = [1.0]" for clock in ("cpu", "wall") for end in ("", "_low", "_high")
)

CONTENTION = "[contention]\nthreads = [{threads}]\n[contention.{kind}]\n" + CONTEST + "\n"


@pytest.fixture
def loaded(tmp_path):
    """Loads the shipped prices with one text replaced and others put in front."""

    def load(old: str = "", new: str = "", front: str = "") -> CostTable:
        text = SHIPPED.read_text().partition("\n[contention]")[0]
        assert old in text
        path = tmp_path / "costs.toml"
        path.write_text(front + text.replace(old, new, 1) if old else front + text)
        return CostTable.load(path)

    return load


@pytest.fixture
def mmap_line() -> str:
    (line,) = [t for t in SHIPPED.read_text().splitlines() if t.startswith("mmap  ")]
    return line


def test_the_shipped_table_prices_every_event_and_says_that_it_is_not_measured_here():
    table = CostTable.load()
    assert len(table.unit_ns) == len(Event)
    assert table.is_shipped
    assert "allocsim calibrate" in table.origin()


def test_a_figure_without_interval_is_its_own_interval(loaded, mmap_line):
    table = loaded(mmap_line, "mmap = { ns = 5.0 }")
    at = Event.MMAP
    assert (table.low_ns[at], table.unit_ns[at], table.high_ns[at]) == (5.0, 5.0, 5.0)
    assert CostTable((1.0, 2.0), {}).high_ns == (1.0, 2.0)


def test_intervals_and_their_origin_are_read_and_change_the_hash(loaded, mmap_line, tmp_path):
    plain = loaded(mmap_line, "mmap = { ns = 5 }")
    table = loaded(mmap_line, "mmap = { ns = 5, low = 4.5, high = 7 }")
    assert (table.low_ns[Event.MMAP], table.high_ns[Event.MMAP]) == (4.5, 7.0)
    assert table.unit_ps == plain.unit_ps
    assert table.content_hash() != plain.content_hash()
    assert str(tmp_path / "costs.toml") in table.origin()
    assert not table.is_shipped


@pytest.mark.parametrize("event", [Event.WRITE, Event.COLD_PAGE, Event.DISTANT_BLOCK])
def test_events_that_older_files_lack_are_shipped_ones_or_in_their_other_prices(loaded, event):
    lines = SHIPPED.read_text().splitlines()
    (line,) = [t for t in lines if t.startswith(f"{event.name.lower()} ")]
    shipped_ns = CostTable.load().unit_ns[event]
    assert shipped_ns > 0
    assert loaded(line, "").unit_ns[event] == (shipped_ns if event == Event.WRITE else 0)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("mmap = { ns = -1 }", "costs.mmap.ns: must be at least 0"),
        ("mmap = { ns = true }", "costs.mmap.ns: must be a number"),
        ("mmap = { ns = nan }", "costs.mmap.ns: must be a finite number"),
        ("mmap = 7", "costs.mmap: must be a table"),
        ("mmap = { ns = 5, low = 6, high = 7 }", "costs.mmap: needs low <= ns <= high"),
        ("mmap = { ns = 5, low = 4 }", "costs.mmap: low and high go together"),
        ("mmap = { ns = 5, lo = 4 }", "costs.mmap.lo: unknown key 'lo'"),
        ("", "costs.mmap: missing"),
    ],
)
def test_a_bad_price_is_refused_with_file_line_and_key(
    loaded, mmap_line, tmp_path: Path, line, complaint
):
    with pytest.raises(InputError) as refused:
        loaded(mmap_line, line)
    assert complaint in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path / 'costs.toml'}:")


@pytest.mark.parametrize(
    ("front", "complaint"),
    [
        ("[step]\n", "step: unknown key 'step'"),
        ("[steps]\nsort = { ns = 'much' }\n", "steps.sort.ns: must be a number"),
        ("[huge_pages]\nfault = { ns = 1 }\n", "huge_pages.munmap: missing"),
        ("[contention]\nthreads = [0]\n", "contention.threads[0]: must be at least 1"),
        (CONTENTION.format(threads="1, 2", kind="fault"), "fault.cpu_ns needs 2"),
        (CONTENTION.format(threads="1", kind="flt"), "contention.flt: unknown key"),
    ],
)
def test_the_other_tables_are_checked_where_present(loaded, front, complaint):
    with pytest.raises(InputError, match=r"costs\.toml:\d+: ") as refused:
        loaded(front=front)
    assert complaint in str(refused.value)


def test_contention_with_one_figure_for_each_number_of_threads_is_accepted(loaded):
    table = loaded(front=CONTENTION.format(threads="2", kind="fault"))
    assert table.provenance["contention"]["fault"]["wall_ns"] == [1.0]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml: cannot be read"):
        CostTable.load(tmp_path / "none.toml")
