"""Text from users and from files, made safe where it is shown: terminal, figure, file name.

A label or a workload's name may hold any character. A control character could drive the terminal,
a mark of direction could reverse a line, and 10,000 characters would push out all others. Code
that shows such text passes it through here.
"""

import hashlib
import re
from collections.abc import Iterable

from allocsim.errors import printable

_UNSAFE_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_NAME = 80
"""Characters of a file name without its suffix: all file systems take 255 bytes."""


def printable_lines(text: object) -> str:
    """The text with `printable` lines: its line breaks and tabs stay."""
    return re.sub(r"[^\n\t]+", lambda part: printable(part[0]), str(text))


def shortened(text: str, longest: int) -> str:
    """The text, or its beginning and end joined by `…`, in at most `longest` characters."""
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 3
    return text[: longest - 1 - tail] + "…" + text[len(text) - tail :]


def short_names(texts: Iterable[str], longest: int) -> dict[str, str]:
    """Each text in one line of at most `longest` characters, no two alike: those get a number."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for text in dict.fromkeys(texts):
        name, n = shortened(printable(text), longest), 1
        while name in taken:
            n += 1
            name = shortened(printable(text), longest - len(f" ({n})")) + f" ({n})"
        taken.add(name)
        names[text] = name
    return names


def file_name(text: str) -> str:
    """A file name for the text: ASCII letters, digits, `.`, `_` and `-`, of limited length.

    A text that is such a name stays as it is. Of others it is what can be kept, and part of a hash
    of the whole, so that different texts have different names.
    """
    safe = _UNSAFE_IN_NAMES.sub("_", text)[:_LONGEST_NAME].lstrip(".")
    if safe == text and safe:
        return safe
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{safe}-{digest[:12]}"
