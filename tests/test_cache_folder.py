"""The cache folder: where it is, who may write to it, and what survives damage."""

import ctypes
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from allocsim import cache, cbuild
from allocsim.cache import cache_dir, make_cache_folder, scratch_folder
from allocsim.errors import InputError, OutputError
from allocsim.sealed import seal, sealed_content

ANOTHER_USER = 12345


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ALLOCSIM_CACHE", str(folder))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "answer.c"
    path.write_text("int answer(void) { return 42; }\n")
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("xdg", "expected"),
    [
        ("/somewhere", "/somewhere/allocsim"),
        ("relative/folder", "/home/me/.cache/allocsim"),
        ("", "/home/me/.cache/allocsim"),
        (None, "/home/me/.cache/allocsim"),
    ],
)
def test_a_relative_xdg_cache_home_is_ignored(monkeypatch, xdg, expected):
    monkeypatch.delenv("ALLOCSIM_CACHE")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if xdg is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    assert str(cache_dir()) == expected


def test_a_user_without_a_home_is_an_input_error(monkeypatch):
    for name in ("ALLOCSIM_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: ANOTHER_USER)
    with pytest.raises(InputError, match="set ALLOCSIM_CACHE to a folder of your own"):
        cache_dir()


def test_folders_and_files_belong_to_one_user_whatever_the_umask(own_cache, source):
    before = os.umask(0)
    try:
        library = cbuild.build(source, shared=True)
    finally:
        os.umask(before)
    assert mode(own_cache) == mode(own_cache / "built") == 0o700
    assert mode(library) & 0o022 == 0
    written = library.stat().st_mtime_ns
    assert cbuild.build(source, shared=True).stat().st_mtime_ns == written


@pytest.mark.parametrize("sub", [".", "built"])
def test_a_cache_that_others_can_write_to_is_refused(own_cache, source, sub):
    make_cache_folder("built")
    (own_cache / sub).chmod(0o777)
    with pytest.raises(OutputError, match=r"other users can write .*chmod go-w"):
        cbuild.build(source, shared=True)
    (own_cache / sub).chmod(0o755)
    cbuild.build(source, shared=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's files")
def test_a_cache_of_another_user_is_refused(own_cache, source):
    make_cache_folder("built")
    os.chown(own_cache, ANOTHER_USER, ANOTHER_USER)
    with pytest.raises(OutputError, match=r"belongs to user 12345, and its code would run as root"):
        cbuild.build(source, shared=True)


def test_what_root_has_made_is_trusted(own_cache, source, monkeypatch):
    library = cbuild.build(source, shared=True)
    if library.stat().st_uid != 0:
        pytest.skip("only root can make root's files")
    monkeypatch.setattr(os, "geteuid", lambda: ANOTHER_USER)
    assert cbuild.build(source, shared=True) == library


@pytest.mark.skipif(os.geteuid() != 0, reason="sudo is root")
def test_sudo_leaves_no_folder_of_roots_in_the_callers_home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, ANOTHER_USER, ANOTHER_USER)
    monkeypatch.setenv("ALLOCSIM_CACHE", str(home / "cache"))
    monkeypatch.setenv("SUDO_UID", str(ANOTHER_USER))
    with pytest.raises(OutputError, match="sudo -H"):
        make_cache_folder("built")
    assert list(home.iterdir()) == []
    monkeypatch.delenv("SUDO_UID")  # a container's root in a mounted home
    make_cache_folder("built")


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "writable", "link", "fifo"])
def test_a_library_that_is_not_as_it_was_built_is_built_again(source, tmp_path, damage):
    library = cbuild.build(source, shared=True)
    whole = library.read_bytes()
    if damage == "writable":
        library.chmod(0o777)
    elif damage in ("link", "fifo"):
        library.unlink()
        (tmp_path / "planted.so").write_bytes(whole)
        os.mkfifo(library) if damage == "fifo" else library.symlink_to(tmp_path / "planted.so")
    else:
        changed = {"cut": whole[:100], "empty": b"", "changed": b"\0" + whole[1:]}
        library.write_bytes(changed[damage])
    assert cbuild.build(source, shared=True) == library
    assert not library.is_symlink()
    assert mode(library) & 0o022 == 0
    assert len(library.read_bytes()) == len(whole)
    assert sealed_content(library) is not None
    done = subprocess.run(
        [sys.executable, "-c", f"import ctypes; print(ctypes.CDLL({str(library)!r}).answer())"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "42\n"


def test_many_threads_build_once(source, monkeypatch):
    compiled = []
    run = cbuild._run_compiler
    monkeypatch.setattr(cbuild, "_run_compiler", lambda c: (compiled.append(c), run(c)))
    build = lambda: cbuild.build(source, shared=True)  # noqa: E731
    threads = [threading.Thread(target=build) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(compiled) == 1


def test_several_processes_may_build_at_once(source, own_cache):
    script = (
        "import sys; from pathlib import Path; from allocsim.cbuild import build;"
        "print(build(Path(sys.argv[1]), shared=True))"
    )
    command = [sys.executable, "-c", script, str(source)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {process.communicate()[0] for process in running}
    assert len(answers) == 1
    (library,) = (own_cache / "built").iterdir()
    assert sealed_content(library) is not None


def test_a_build_that_was_killed_leaves_nothing_that_counts(source, tmp_path, monkeypatch):
    compiler, killed = tmp_path / "killing-cc", tmp_path / "killed"
    compiler.write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) exit 0;; esac\n'
        f'[ -e {killed} ] && exec cc "$@"\n'
        f'touch {killed}; printf half > "$2"; kill -9 $PPID\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    script = (
        "from allocsim.cbuild import build; import pathlib;"
        f"build(pathlib.Path({str(source)!r}), shared=True)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    library = cbuild.build(source, shared=True)
    assert ctypes.CDLL(str(library)).answer() == 42


def test_a_file_is_on_disk_before_it_has_its_name(own_cache, monkeypatch):
    steps = []
    monkeypatch.setattr(cache, "_sync", lambda path: steps.append(path.name))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda a, b: (steps.append("renamed"), replace(a, b)))
    with scratch_folder("built") as scratch:
        made = scratch / "made"
        made.write_text("content")
        cache.publish(made, own_cache / "built" / "final")
    assert steps == ["made", "renamed", "built"]


def test_a_seal_covers_every_byte(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"content")
    assert sealed_content(file) is None
    seal(file)
    assert sealed_content(file) == b"content"
    whole = file.read_bytes()
    for i in range(len(whole)):
        file.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        assert sealed_content(file) is None
