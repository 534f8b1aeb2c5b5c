"""The cache on disk: found again, renewed when a source changes, and never beside the sources."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from allocsim.component import Component
from allocsim.component.entry import is_cached

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
from allocsim.component.entry import is_cached
from allocsim.component.source import key
cached = is_cached(Model, "go")
print(json.dumps([Model().run("go", 10, compiled=True), cached, key(Model)]))
print(json.dumps([name for name in ("numba", "llvmlite") if name in sys.modules]), file=sys.stderr)
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

    def run(self, **variables: str) -> tuple[int, bool, str]:
        """The answer, whether it was cached before, and the key: of a new process.

        `imported` is what it imported of numba and llvmlite.
        """
        answer = tuple(self.says(RUN, **variables))
        self.imported = json.loads(self.errors)
        return answer

    def says(self, script: str, **variables: str) -> list:
        """What a new process prints that runs the script, and in `errors` what else it prints."""
        environment = (
            os.environ
            | {
                "ALLOCSIM_CACHE": str(self.cache),
                "PYTHONPATH": str(self.folder),
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            | variables
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment, capture_output=True, text=True, cwd=self.folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.errors = done.stderr
        return json.loads(done.stdout)

    def kept(self) -> list[Path]:
        """The files of the cache."""
        return list((self.cache / "compiled").iterdir())


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


def test_a_method_is_not_taken_for_one_whose_name_begins_alike(tmp_path, monkeypatch):
    class Counting(Component):
        def go(self):
            return 1

        def go_on(self):
            return 2

    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path))
    assert Counting().run("go_on", compiled=True) == 2
    assert is_cached(Counting, "go_on")
    assert not is_cached(Counting, "go")


@pytest.mark.slow
def test_cached_code_needs_neither_numba_nor_llvm(package):
    package.run()
    assert package.imported == ["numba", "llvmlite"]
    assert [file.suffix for file in package.kept()] == [".so"]
    assert package.run()[:2] == (10, True)
    assert package.imported == []


@pytest.mark.slow
def test_without_a_compiler_llvm_loads_the_cached_code(package):
    assert package.run(CC="false")[:2] == (10, False)
    assert [file.suffix for file in package.kept()] == [".o"]
    assert package.run(CC="false")[:2] == (10, True)
    assert package.imported == ["llvmlite"]


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["cc", "false"])
@pytest.mark.parametrize("damage", [0, 100, -1])
def test_a_damaged_file_in_the_cache_is_replaced(package, compiler, damage):
    package.run(CC=compiler)
    (file,) = package.kept()
    file.write_bytes(file.read_bytes()[:damage])
    assert package.run(CC=compiler)[0] == 10
    assert package.imported == ["numba", "llvmlite"]
    package.run(CC=compiler)
    assert "numba" not in package.imported


@pytest.mark.slow
def test_where_nothing_can_be_kept_it_runs_all_the_same(package):
    package.cache.write_text("a file, not a folder")
    assert package.run()[:2] == (10, False)
    assert package.run()[:2] == (10, False)


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


FAILING = """
from allocsim.component import Component

class Failing(Component):
    def go(self, k):
        raise ValueError("no such", k)
"""
FAIL = """
import json, sys, traceback
from pack.failing import Failing
from allocsim.component.entry import is_cached
cached = is_cached(Failing, "go")
try:
    Failing().run("go", 10, compiled=True)
except ValueError as error:
    last = traceback.extract_tb(error.__traceback__)[-1]
    print(json.dumps([cached, last.lineno, last.line]))
"""


def test_an_error_comes_from_where_its_line_stands_by_now(tmp_path):
    package = Package(tmp_path)
    package.write("failing", FAILING)
    assert package.says(FAIL) == [False, 6, 'raise ValueError("no such", k)']
    package.write("failing", "# a comment\n\n" + FAILING)
    assert package.says(FAIL) == [True, 8, 'raise ValueError("no such", k)']


def test_an_error_comes_from_the_copy_that_runs_not_from_the_one_that_was_compiled(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first, second = (Package(tmp_path / name) for name in ("first", "second"))
    second.cache = first.cache
    for package in (first, second):
        package.write("failing", FAILING)
    assert first.says(FAIL)[0] is False
    (first.folder / "pack" / "failing.py").unlink()
    file = second.folder / "pack" / "failing.py"
    answer = second.says(FAIL.replace("last.line]", "last.line, last.filename]"))
    assert answer == [True, 6, 'raise ValueError("no such", k)', str(file)]


def test_threads_that_need_code_at_once_compile_one_after_the_other(tmp_path, monkeypatch):
    from allocsim.component import compiler

    class Answering(Component):
        def first(self):
            return 1

        def second(self):
            return 2

    compiling, most, answers = [], [], []

    def watched(cls, method, kinds):
        compiling.append(method)
        time.sleep(0.05)
        most.append(len(compiling))
        code = compiled(cls, method, kinds)
        compiling.remove(method)
        return code

    compiled = compiler.compiled
    monkeypatch.setattr(compiler, "compiled", watched)
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path))
    run = lambda method: answers.append(Answering().run(method, compiled=True))  # noqa: E731
    threads = [threading.Thread(target=run, args=(name,)) for name in ("first", "second") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [1, 1, 2, 2]
    assert most == [1, 1]


def test_code_that_others_may_have_put_there_is_not_run(tmp_path, monkeypatch):
    class Careful(Component):
        def go(self):
            return 1

    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path / "cache"))
    assert Careful().run("go", compiled=True) == 1
    assert is_cached(Careful, "go")
    (tmp_path / "cache").chmod(0o777)
    with pytest.warns(RuntimeWarning, match="other users can write to this cache"):
        assert not is_cached(Careful, "go")
    assert Careful().run("go", compiled=True) == 1
