"""Files that appear whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from allocsim.errors import AllocsimError, InputError


class AtomicFile:
    """A file written under a temporary name beside `path`, and renamed when it is complete.

    Raises InputError when `path` is not a place for a file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_file():
            raise InputError(f"{path}: not an ordinary file; name a file to write to")
        if not self.path.parent.is_dir():
            raise InputError(f"{path}: there is no folder {self.path.parent}; create it first")
        self.temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.tmp")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Around every access: what the disk complains of becomes an AllocsimError."""
        try:
            yield
        except OSError as error:
            self.discard()
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise AllocsimError(f"{self.path}: cannot write: {reason}; nothing is kept") from error

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
