"""Debian's packages of glibc: fetched by version, checked, unpacked into the cache, run from there.

    allocsim fetch-glibc 2.41

A package is known by name and SHA-256, so what was compared can be had again, and from any mirror.
No dpkg is needed and nothing is installed: the libraries lie in the cache folder, and the replayer
is linked with the loader beside them (`replay(libc=folder_of("2.41"))`).
"""

import contextlib
import hashlib
import io
import os
import re
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from allocsim.cache import cache_folder, make_cache_folder, publish, scratch_folder
from allocsim.errors import AllocsimError, InputError
from allocsim.platform_support import glibc_version
from allocsim.sealed import seal, sealed_content

MIRROR_VARIABLE = "ALLOCSIM_DEBIAN_MIRROR"
MIRRORS = (
    "https://deb.debian.org/debian",
    "https://snapshot.debian.org/archive/debian/20261122T000000Z",
)
"""Where packages are asked for in turn; the second keeps those that the first has replaced."""

_FOLDER = "glibc"  # of the cache
_CONTENTS = "SHA256SUMS"  # sealed: the hash and the name of each library
_TIMEOUT_S = 60
_ENTRY_BYTES = 60  # of an ar archive: the header of a member
_LIBRARY = re.compile(r"/x86_64-linux-gnu/[^/]+\.so(\.[0-9]+)?$")


@dataclass(frozen=True)
class Package:
    """One of Debian's packages of libc6 for amd64: its version there and its file's SHA-256."""

    debian_version: str
    sha256: str

    @property
    def path(self) -> str:
        """Where every mirror has it."""
        return f"pool/main/g/glibc/libc6_{self.debian_version}_amd64.deb"


PACKAGES = {
    "2.36": Package(
        "2.36-9+deb12u14", "ba4f88f73dbc3ae9055f3c20f4523bfdbaf1ad13ff95e258924f77d20b4fbedf"
    ),
    "2.41": Package(
        "2.41-12+deb13u4", "967aa62605721081c3eb2a17650611a792aa802d76a6511d1840242623d204c9"
    ),
    "2.43": Package("2.43-7", "5c71715c51103beb4fbba9fe9f8dff604af6610dfa71c70bff342f54a7860803"),
}


def package_of(version: str) -> Package:
    """The known package of a glibc version; InputError names those that there are."""
    if version not in PACKAGES:
        raise InputError(f"glibc {version}: no package is known; known: {', '.join(PACKAGES)}")
    return PACKAGES[version]


def folder_of(version: str) -> Path:
    """Where the unpacked libraries of a version lie, or would."""
    return cache_folder(_FOLDER) / package_of(version).debian_version


def libc_for(version: str) -> Path | None:
    """The C library to run for a version: None for the machine's own where that is it.

    InputError, which tells how to fetch it, where neither the machine nor the cache has it.
    """
    if glibc_version() == version:
        return None
    folder = folder_of(version)
    if not is_whole(folder):
        where = "is damaged" if folder.exists() else "is not on this machine"
        raise InputError(
            f"glibc {version} {where}; "
            f"`allocsim fetch-glibc {version}` puts Debian's package of it into {folder}"
        )
    return folder


def is_whole(folder: Path) -> bool:
    """Whether a folder has all libraries of its package as they were unpacked."""
    contents = sealed_content(folder / _CONTENTS)
    if contents is None:
        return False
    try:
        return contents == _contents(folder)
    except OSError:
        return False


def _contents(folder: Path) -> bytes:
    """The libraries and their hashes, as sha256sum lists them."""
    files = sorted(path for path in folder.iterdir() if path.name != _CONTENTS)
    return b"".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n".encode() for path in files
    )


def fetch(version: str, mirror: str | None = None) -> Path:
    """Download and unpack a version unless it is there; the folder with its libraries.

    mirror: the address under which a Debian archive has its `pool`; else $ALLOCSIM_DEBIAN_MIRROR,
    else Debian's own. Raises InputError for an unknown version, AllocsimError where the package
    cannot be had or is not the one that it should be, OutputError where the cache takes no files.
    """
    package, folder = package_of(version), folder_of(version)
    if not is_whole(folder):
        make_cache_folder(_FOLDER)  # refused now, not after the download
        own = mirror or os.environ.get(MIRROR_VARIABLE)
        _unpack_to(folder, _download(package, (own,) if own else MIRRORS))
    return folder


def fetch_command(versions: Iterable[str], mirror: str | None) -> None:
    """`allocsim fetch-glibc`: fetch some versions, or all that are known, and tell where to."""
    wanted = tuple(versions) or tuple(PACKAGES)
    for version in wanted:
        package_of(version)  # refused now, not after the downloads before it
    for version in wanted:
        print(f"glibc {version}: {fetch(version, mirror)}")


def _unpack_to(folder: Path, content: bytes) -> None:
    """Make the folder of a package's libraries, whole or not at all."""
    with scratch_folder(_FOLDER) as scratch:
        made = scratch / "libraries"
        made.mkdir()
        _unpack_libraries(content, made)
        (made / _CONTENTS).write_bytes(_contents(made))
        seal(made / _CONTENTS)
        _publish_folder(made, folder, scratch / "damaged")


def _publish_folder(made: Path, folder: Path, aside: Path) -> None:
    """Give a complete folder its name; another process may have been faster."""
    with contextlib.suppress(FileNotFoundError):
        if not is_whole(folder):
            folder.rename(aside)
    try:
        publish(made, folder)
    except OSError:
        if not is_whole(folder):
            raise


def _download(package: Package, mirrors: Iterable[str]) -> bytes:
    """The package's file from the first mirror that has it."""
    refusals = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{urllib.parse.quote(package.path)}"
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
                content = answer.read()
        except (OSError, ValueError) as error:
            refusals.append(f"{url}: {error}")
            continue
        if (found := hashlib.sha256(content).hexdigest()) == package.sha256:
            return content
        refusals.append(f"{url}: another file than expected: its SHA-256 is {found}")
    told = "\n  ".join(refusals)
    raise AllocsimError(
        f"the package cannot be had; {MIRROR_VARIABLE} or --mirror names another archive:\n  {told}"
    )


def _unpack_libraries(package: bytes, folder: Path) -> None:
    """Write the libraries and the loader of a Debian package into `folder`."""
    data = io.BytesIO(_member(package, "data.tar"))
    with tarfile.open(fileobj=data) as archive:
        for entry in archive:
            if entry.isfile() and _LIBRARY.search(entry.name):
                entry.name = Path(entry.name).name
                archive.extract(entry, folder, filter="data")


def _member(archive: bytes, name: str) -> bytes:
    """The member of an ar archive, which a Debian package is, whose name starts so."""
    at = len(b"!<arch>\n")
    while at + _ENTRY_BYTES <= len(archive):
        header = archive[at : at + _ENTRY_BYTES]
        start, size = at + _ENTRY_BYTES, int(header[48:58])
        if header[:16].decode().startswith(name):
            return archive[start : start + size]
        at = start + size + size % 2
    raise AllocsimError(f"no Debian package: it has no {name}")
