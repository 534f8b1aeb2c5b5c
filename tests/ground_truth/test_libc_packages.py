"""Debian's packages of glibc: had from a mirror, checked, unpacked, and asked for when missing."""

import hashlib
import io
import tarfile

import pytest

from allocsim.errors import AllocsimError, InputError
from allocsim.ground_truth import libc_packages
from allocsim.ground_truth.libc_packages import MIRROR_VARIABLE, Package, fetch, libc_for

FILES = {
    "./usr/lib/x86_64-linux-gnu/libc.so.6": b"the library",
    "./usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": b"the loader",
    "./usr/lib/x86_64-linux-gnu/gconv/IBM037.so": b"a module",
    "./usr/share/doc/libc6/copyright": b"text",
}


def debian_package() -> bytes:
    """A package as dpkg-deb makes it: an ar archive with a compressed tar archive in it."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, content in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    members = (("debian-binary", b"2.0\n"), ("odd", b"123"), ("data.tar.xz", data.getvalue()))
    return b"!<arch>\n" + b"".join(_ar_member(*member) for member in members)


def _ar_member(name: str, content: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
    return header + content + b"\n" * (len(content) % 2)


@pytest.fixture
def mirror(tmp_path, monkeypatch) -> str:
    """A Debian archive that has version 9.9, and an empty cache."""
    package = Package("9.9-1+x", hashlib.sha256(debian_package()).hexdigest())
    monkeypatch.setitem(libc_packages.PACKAGES, "9.9", package)
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "debian" / package.path
    path.parent.mkdir(parents=True)
    path.write_bytes(debian_package())
    return (tmp_path / "debian").as_uri()


def test_a_fetched_package_is_unpacked_and_found(mirror):
    folder = fetch("9.9", mirror)
    assert {file.name: file.read_bytes() for file in folder.glob("*.so*")} == {
        "libc.so.6": b"the library",
        "ld-linux-x86-64.so.2": b"the loader",
    }
    assert libc_for("9.9") == folder
    assert fetch("9.9", "file:///nowhere") == folder, "it is fetched once only"


@pytest.mark.parametrize("damage", ["cut", "missing", "added", "contents", "writable"])
def test_a_damaged_library_is_refused_and_fetched_again(mirror, damage):
    folder = fetch("9.9", mirror)
    library = folder / "libc.so.6"
    if damage == "cut":
        library.write_bytes(b"the")
    elif damage == "missing":
        library.unlink()
    elif damage == "added":
        (folder / "libpthread.so.0").write_bytes(b"")
    else:
        contents = next(file for file in folder.iterdir() if ".so" not in file.name)
        contents.write_bytes(b"") if damage == "contents" else contents.chmod(0o666)
    with pytest.raises(InputError, match=r"9\.9 is damaged; `allocsim fetch-glibc 9\.9` puts"):
        libc_for("9.9")
    assert fetch("9.9", mirror) == folder
    assert libc_for("9.9") == folder
    assert library.read_bytes() == b"the library"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_mirror_may_be_named_by_the_environment(mirror, monkeypatch):
    monkeypatch.setenv(MIRROR_VARIABLE, mirror)
    assert fetch("9.9").is_dir()


def test_a_mirror_without_it_is_passed_over(mirror, monkeypatch):
    monkeypatch.setattr(libc_packages, "MIRRORS", ("file:///nowhere", mirror))
    assert fetch("9.9").is_dir()


def test_another_file_than_the_known_one_is_refused(mirror, tmp_path):
    path = tmp_path / "debian" / libc_packages.PACKAGES["9.9"].path
    path.write_bytes(debian_package() + b"more")
    with pytest.raises(AllocsimError, match="another file than expected"):
        fetch("9.9", mirror)
    assert not libc_packages.folder_of("9.9").exists()


def test_a_mirror_that_cannot_be_reached_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path))
    with pytest.raises(AllocsimError, match=r"file:///nowhere/pool/main/g/glibc/libc6_2\.43"):
        fetch("2.43", "file:///nowhere")


def test_an_unknown_version_is_told_the_known_ones():
    with pytest.raises(InputError, match=r"glibc 2\.40: .* known: 2\.36, 2\.41, 2\.43"):
        fetch("2.40")


def test_the_machines_own_library_needs_no_package(monkeypatch, mirror):
    monkeypatch.setattr(libc_packages, "glibc_version", lambda: "9.9")
    assert libc_for("9.9") is None


def test_verify_tells_how_to_fetch_what_is_missing(tmp_path, monkeypatch, allocsim_here):
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path))
    code, _, errors = allocsim_here("verify", "buffers", "--set", "version=2.41")
    if libc_packages.glibc_version() == "2.41":
        pytest.skip("the machine has this version")
    assert code == 2
    assert errors.count("\n") == 1
    assert "`allocsim fetch-glibc 2.41`" in errors


def test_a_version_that_is_not_modelled_is_refused(allocsim_here):
    code, _, errors = allocsim_here("simulate", "buffers", "--set", "version=2.4")
    assert code == 2
    assert "2.36, 2.41, 2.43" in errors
