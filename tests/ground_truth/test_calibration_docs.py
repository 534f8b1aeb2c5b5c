"""What docs/calibration.md shows is true."""

import re
from pathlib import Path

from allocsim.ground_truth.calibration.contention import KINDS
from allocsim.kernel.cost_file import Contention
from allocsim.kernel.costs import CostTable

PAGE = (Path(__file__).parents[2] / "docs" / "calibration.md").read_text()


def block(language: str) -> str:
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return text


def test_the_file_that_is_shown_is_a_cost_table(tmp_path):
    path = tmp_path / "costs.toml"
    path.write_text(block("toml"))
    table = CostTable.load(path)
    assert table.high_ns > table.unit_ns
    assert table.provenance["contention"]["threads"] == [1, 2]


def test_every_kind_of_contention_is_named_and_can_be_read():
    assert {kind.name for kind in KINDS} == set(Contention.model_fields) - {"threads"}
    assert [kind.name for kind in KINDS if kind.name not in block("toml")] == []


def test_the_example_gives_an_interval():
    names: dict = {}
    exec(block("python"), names)
    assert 0 < names["low_ns"] <= names["high_ns"]
