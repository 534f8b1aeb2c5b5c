"""The policies printed in docs/policies.md are policies that load, run and say what they are."""

import re
from pathlib import Path

import pytest

from allocsim import load_policy
from allocsim.check import CHECK_NAMES, Outcome, check_policy

PAGE = Path(__file__).parents[1] / "docs" / "policies.md"
PRINTED = {
    name: code
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for name in re.findall(r"^class (\w+)\(", code, re.MULTILINE)
}
FAILS = {"Bump": {"survives exhaustion"}, "LifoFirstFit": set()}


@pytest.mark.parametrize("name", FAILS)
def test_printed_policies_pass_the_checks(name, tmp_path):
    file = tmp_path / "my_policy.py"
    file.write_text(PRINTED[name])
    results = check_policy(load_policy(str(file)), compiles=False)
    assert {r.name for r in results if r.outcome is Outcome.FAILED} == FAILS[name]


def test_the_page_lists_every_check():
    rows = set(re.findall(r"^\| ([a-z][a-z ,]+) \|", PAGE.read_text(), re.MULTILINE))
    assert set(CHECK_NAMES) <= rows
