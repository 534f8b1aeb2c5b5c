"""The cache of C helpers: built once, rebuilt when anything changes, clear errors."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from allocsim import cbuild
from allocsim.cache import cache_dir
from allocsim.errors import InputError

SAYS_HELLO = '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n'


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source" / "hello.c"
    path.parent.mkdir()
    path.write_text(SAYS_HELLO)
    return path


def run(program: Path) -> str:
    return subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout


def test_builds_a_program_that_runs(source: Path) -> None:
    assert run(cbuild.build(source)) == "hello\n"


def test_builds_once(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cbuild.build(source)
    written = first.stat().st_mtime_ns
    assert cbuild.build(source) == first
    assert first.stat().st_mtime_ns == written


def test_an_edit_of_the_source_gives_another_file(source: Path) -> None:
    first = cbuild.build(source)
    source.write_text(SAYS_HELLO.replace("hello", "goodbye"))
    assert run(cbuild.build(source)) == "goodbye\n"
    assert run(first) == "hello\n"


def test_an_edit_of_a_header_gives_another_file(source: Path) -> None:
    header = source.parent / "word.h"
    header.write_text('#define WORD "one"\n')
    source.write_text('#include "word.h"\n' + SAYS_HELLO.replace('"hello"', "WORD"))
    assert run(cbuild.build(source)) == "one\n"
    header.write_text('#define WORD "two"\n')
    assert run(cbuild.build(source)) == "two\n"


def test_flags_are_used_and_are_part_of_the_key(source: Path) -> None:
    source.write_text(SAYS_HELLO.replace('"hello"', "WORD"))
    assert run(cbuild.build(source, flags=['-DWORD="a"'])) == "a\n"
    assert run(cbuild.build(source, flags=['-DWORD="b"'])) == "b\n"


def test_the_folder_of_the_source_is_no_part_of_the_key(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / source.name
    copy.parent.mkdir()
    copy.write_text(source.read_text())
    assert cbuild.build(copy) == cbuild.build(source)


def test_builds_a_shared_library(source: Path) -> None:
    library = cbuild.build(source, shared=True)
    assert library.suffix == ".so"
    assert library.read_bytes()[16] == 3  # ELF's e_type: ET_DYN, a shared object


def test_without_a_compiler_the_error_names_the_package(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"needs a C compiler.*apt install gcc"):
        cbuild.build(source)


def test_a_wrong_cc_is_named(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(InputError, match="'no-such-compiler', named by CC"):
        cbuild.build(source)


def test_cc_may_hold_arguments(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source.write_text(SAYS_HELLO.replace('"hello"', "WORD"))
    monkeypatch.setenv("CC", """cc -DWORD='"from CC"'""")
    assert run(cbuild.build(source)) == "from CC\n"


def test_a_failed_build_shows_the_compiler_s_words_and_leaves_nothing(source: Path) -> None:
    source.write_text("int main(void) { return undeclared; }\n")
    with pytest.raises(InputError, match="undeclared"):
        cbuild.build(source)
    assert list((cache_dir() / "built").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_an_input_error(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="file is no folder; set ALLOCSIM_CACHE"):
        cbuild.build(source)


def test_what_killed_processes_left_in_the_cache_goes_after_a_day(source: Path) -> None:
    built = cache_dir() / "built"
    hours = {"tmpold": 25, "tmpyoung": 23, "kept": 1000}
    for name, age in hours.items():
        (built / name).mkdir(parents=True)
        (built / name / "half.o").touch()
        then = time.time() - age * 3600
        os.utime(built / name, (then, then))
    program = cbuild.build(source)
    assert {path.name for path in built.iterdir()} == {"tmpyoung", "kept", program.name}


def test_a_folder_or_pipe_under_the_name_of_a_program_is_replaced(source: Path) -> None:
    program = cbuild.build(source)
    for make in (Path.mkdir, os.mkfifo):
        program.unlink()
        make(program)
        assert run(cbuild.build(source)) == "hello\n"
