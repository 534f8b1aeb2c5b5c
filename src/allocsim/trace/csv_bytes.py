"""The bytes of a CSV file: opened, decompressed and checked to be text, as they are read."""

import codecs
import contextlib
import io
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from allocsim.errors import InputError, printable

_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
"""Arrow's name of each compression, by the bytes that such files begin with."""
_LONGEST_MAGIC = 4


def name_of(source: str) -> str:
    """What messages call the CSV file `source` (``-``: standard input)."""
    return "standard input" if source == "-" else source


@contextlib.contextmanager
def opened(source: str) -> Iterator["Utf8Bytes"]:
    """The bytes of a CSV file, gzip or zstd taken off; raises InputError if it cannot be read."""
    if source == "-":
        yield Utf8Bytes(name_of(source), sys.stdin.buffer)
        return
    with _open(source) as stream:
        yield Utf8Bytes(source, stream)


def _open(source: str) -> BinaryIO:
    """A pipe, such as the shell's ``<(command)``, is read as a file; /dev/zero would never end."""
    try:
        mode = Path(source).stat().st_mode
        if stat.S_ISREG(mode) or stat.S_ISFIFO(mode):
            return Path(source).open("rb")
    except OSError as error:
        raise InputError(f"{source}: cannot read: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{printable(source)}: cannot read: no file has this name") from None
    raise InputError(f"{source}: neither a file nor a pipe; name a CSV file, or - for input")


class Utf8Bytes:
    """A readable file for Arrow; reading raises InputError at the line that is not UTF-8."""

    closed = False

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self.name = name
        self._lines = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._stream, self._compression = _decompressed(stream)

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        chunk = self._read(size)
        try:
            self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            line = self._lines + error.object.count(b"\n", 0, error.start) + 1
            byte = error.object[error.start]
            raise InputError(f"{self.name}:{line}: not text in UTF-8: byte 0x{byte:02x}") from None
        self._lines += chunk.count(b"\n")
        return chunk

    def _read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except (OSError, ValueError) as error:
            what = f"damaged {self._compression}: " if self._compression else "cannot read: "
            reason = str(getattr(error, "strerror", None) or error).splitlines()[0]
            raise InputError(f"{self.name}:{self._lines + 1}: {what}{reason}") from None


def _decompressed(stream: BinaryIO) -> tuple[BinaryIO | pa.NativeFile, str]:
    """The stream without its compression, and the name of that."""
    buffered = io.BufferedReader(stream)  # type: ignore[type-var]
    ahead = buffered.peek(_LONGEST_MAGIC)
    for magic, compression in _COMPRESSIONS.items():
        if ahead.startswith(magic):
            return pa.CompressedInputStream(pa.PythonFile(buffered, "r"), compression), compression
    return buffered, ""
