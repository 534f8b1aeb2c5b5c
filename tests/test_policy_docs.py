"""The policies printed in the documentation load, run and pass the checks."""

import re
from pathlib import Path

import pytest

from allocsim import load_policy
from allocsim.check import CHECK_NAMES, Outcome, check_policy

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "policies.md"
PRINTED = {
    name: code
    for page in (*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md")
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    for name in re.findall(r"^class (\w+)\(", code, re.MULTILINE)
    if "def malloc" in code or "(Glibc)" in code or "(BoundaryTagHeap)" in code
}
FAILS = {"Bump": {"survives exhaustion"}}


@pytest.mark.parametrize("name", PRINTED)
def test_printed_policies_pass_the_checks(name, tmp_path):
    file = tmp_path / "my_policy.py"
    file.write_text(PRINTED[name])
    results = check_policy(load_policy(str(file)), compiles=False)
    assert {r.name for r in results if r.outcome is Outcome.FAILED} == FAILS.get(name, set())


def test_the_page_lists_every_check():
    rows = set(re.findall(r"^\| ([a-z][a-z ,]+) \|", PAGE.read_text(), re.MULTILINE))
    assert set(CHECK_NAMES) <= rows
