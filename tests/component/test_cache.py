"""The cache on disk: found again, renewed when a source changes, and never beside the sources."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HELPER = "def step(x):\n    return x + {by}\n"
CONSTANTS = "LIMIT = {limit}\n"
MODEL = """
from allocsim.component import Component
from pack.helper import step
from pack import constants
from pack.constants import LIMIT

class Model(Component):
    n = 0
    def go(self, k):
        while self.n < min(k, LIMIT):
            self.n = step(self.n)
        return self.n
"""
RUN = """
import json, sys
from pack.model import Model
from allocsim.component.compiler import is_cached
from allocsim.component.source import key
cached = is_cached(Model, "go")
print(json.dumps([Model().run("go", 10, compiled=True), cached, key(Model)]))
"""


class Package:
    """A package of the user's, and a cache folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, folder / "cache"
        (folder / "pack").mkdir()
        self.write("__init__", "")
        self.write("model", MODEL)
        self.write("helper", HELPER.format(by=1))
        self.write("constants", CONSTANTS.format(limit=100))

    def write(self, module: str, text: str) -> None:
        (self.folder / "pack" / f"{module}.py").write_text(text)

    def run(self) -> tuple[int, bool, str]:
        """The answer, whether it was cached before, and the key: of a new process."""
        environment = os.environ | {
            "ALLOCSIM_CACHE": str(self.cache),
            "PYTHONPATH": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", RUN],
            env=environment, capture_output=True, text=True, cwd=self.folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return tuple(json.loads(done.stdout))


@pytest.fixture
def package(tmp_path) -> Package:
    return Package(tmp_path)


@pytest.mark.slow
def test_a_second_process_finds_the_code_and_edits_anywhere_renew_it(package):
    assert package.run()[:2] == (10, False)
    answer, cached, key = package.run()
    assert (answer, cached) == (10, True)
    package.write("helper", HELPER.format(by=4))
    answer, cached, other = package.run()
    assert (answer, cached) == (12, False)
    assert other != key
    package.write("constants", CONSTANTS.format(limit=3))
    assert package.run()[:2] == (4, False)
    package.write("helper", "# a comment is no change\n" + HELPER.format(by=4))
    assert package.run()[:2] == (4, True)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_install_runs(package):
    self_made = package.folder / "pack"
    self_made.chmod(0o555)
    try:
        assert package.run()[0] == 10
        assert package.run()[1]
    finally:
        self_made.chmod(0o755)


@pytest.mark.slow
def test_nothing_is_written_beside_the_users_sources(package):
    package.run()
    assert sorted(p.name for p in (package.folder / "pack").iterdir()) == [
        "__init__.py", "constants.py", "helper.py", "model.py"
    ]  # fmt: skip
