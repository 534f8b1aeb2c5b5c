"""Files and folders that the user named to write to: refused early, written whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from allocsim.errors import OutputError

DRAFT_PREFIX = ".draft-"
"""How the names of files begin that are not whole yet; killed writers leave them behind."""


def cannot_write(path: str | Path, error: OSError) -> OutputError:
    """What to tell of an output that the system refuses."""
    return OutputError(f"{path}: cannot write: {reason_of(error)}")


def reason_of(error: Exception) -> str:
    """What the system complains of, without the name that it has for the file."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error)


def check_folder(folder: Path) -> None:
    """Raise OutputError unless files can be written to `folder`, which may be still to be made."""
    try:
        nearest = next(place for place in (folder, *folder.parents) if place.exists())
    except OSError as error:
        raise cannot_write(folder, error) from None
    if not nearest.is_dir():
        raise OutputError(f"{folder}: cannot write: {nearest} is no folder")
    _check_permission(folder, nearest)


def _check_permission(output: Path, folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{output}: cannot write: the folder {folder} takes no new files")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is whole under its name, or not there; an older one stays until then.

    The content goes to a new file of a random name beside it, which follows the umask and no link,
    reaches the disk, and is renamed. Raises OSError, and leaves nothing behind then.
    """
    draft = path.with_name(f"{DRAFT_PREFIX}{os.urandom(8).hex()}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """A new name reaches the disk; some file systems cannot say so, and need not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


class AtomicFile:
    """A file written under a temporary name beside `path`, and renamed when it is complete.

    Raises OutputError when `path` is not a place for a file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._check()
        self.temporary = self.path.with_name(f".{self.path.name}.{os.urandom(4).hex()}.tmp")

    def _check(self) -> None:
        folder = self.path.parent
        try:
            if self.path.exists() and not self.path.is_file():
                raise OutputError(f"{self.path}: not an ordinary file; name a file to write to")
            if not folder.is_dir():
                raise OutputError(f"{self.path}: there is no folder {folder}; create it first")
        except OSError as error:
            raise cannot_write(self.path, error) from None
        _check_permission(self.path, folder)

    def write_text(self, text: str) -> None:
        """Write the whole file."""
        with self.writing():
            self.temporary.write_text(text, encoding="utf-8")
        self.commit()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Around every access: what the disk complains of becomes an OutputError."""
        try:
            yield
        except OSError as error:
            self.discard()
            raise cannot_write(self.path, error) from error

    def commit(self) -> None:
        """Give the complete file its name."""
        with self.writing():
            self.temporary.replace(self.path)

    def discard(self) -> None:
        """Leave nothing behind; harmless after `commit`.

        Where nothing can be removed nothing could be made: the first complaint is the one to tell.
        """
        with contextlib.suppress(OSError):
            self.temporary.unlink()
