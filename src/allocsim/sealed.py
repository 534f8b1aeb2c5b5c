"""Files that end with a hash of themselves: half a file could take a process with it.

What loads programs, libraries and object files ignores bytes behind their end.
"""

import os
import stat
from hashlib import sha256
from pathlib import Path

from allocsim.cache import is_private

_SEAL_BYTES = sha256().digest_size


def seal(path: Path) -> None:
    """Append the hash; before anybody has loaded the file, whose pages would go from under it."""
    content = path.read_bytes()
    with path.open("ab") as file:
        file.write(sha256(content).digest())


def sealed_content(path: Path) -> bytes | None:
    """What was sealed; None for a file that is missing, damaged, or may be another user's work."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        sealed = _read_private(number)
    except OSError:  # a bad block of the disk
        return None
    finally:
        os.close(number)
    content, digest = sealed[:-_SEAL_BYTES], sealed[-_SEAL_BYTES:]
    return content if sha256(content).digest() == digest else None


def _read_private(number: int) -> bytes:
    """What an open file holds; nothing for a folder, a pipe, or what others can have written."""
    status = os.fstat(number)
    if not (stat.S_ISREG(status.st_mode) and is_private(status)):
        return b""
    with os.fdopen(number, "rb", closefd=False) as file:
        return file.read()
