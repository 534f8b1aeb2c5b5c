"""Standard output and standard error: any encoding, any width, and no text that drives them."""

import codecs
import os
import sys
from typing import TYPE_CHECKING, Any, Literal, TextIO

from allocsim.user_text import printable_lines

if TYPE_CHECKING:
    from rich.console import Console

_HANDLER = "allocsim.plain"
_PLAIN = {
    "µ": "u", "±": "+-", "…": "...", "≥": ">=", "≤": "<=", "≠": "!=", "✓": "ok", "✗": "x",
    "▲": "^", "↑": "^", "↓": "v", "─": "-", "│": "|", "├": "|", "└": "`", "█": "#",
    "\N{EN DASH}": "-", "\N{MINUS SIGN}": "-", "\N{MULTIPLICATION SIGN}": "x",
}  # fmt: skip
"""What stands for allocsim's own characters where the encoding lacks them."""


def prepare_streams() -> None:
    """Makes standard output and standard error take every text, whatever their encoding lacks.

    Those that were closed at the start are there afterwards, and standard input, too.
    """
    codecs.register_error(_HANDLER, _replaced)
    sys.stdin = sys.stdin or _closed_stream(0, os.O_RDONLY, "r")
    sys.stdout = sys.stdout or _closed_stream(1, os.O_RDONLY, "w")
    sys.stderr = sys.stderr or _closed_stream(2, os.O_WRONLY, "w")
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors=_HANDLER)


def _closed_stream(number: int, flags: int, mode: Literal["r", "w"]) -> TextIO:
    """Stands for a stream that was closed at the start, so that no other file gets its number.

    flags: how the null device is opened; opened for reading, it refuses what is written, as a
    closed stream does.
    """
    null = os.open(os.devnull, flags)
    if null != number:
        os.dup2(null, number)
        os.close(null)
    return open(number, mode, encoding="utf-8", closefd=False)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    shown = (_PLAIN.get(c) or c.encode("unicode_escape").decode("ascii") for c in lost)
    return "".join(shown), error.end


def say(text: Any, file: TextIO | None = None) -> None:
    """Prints text that may hold text from files, to standard output by default."""
    print(printable_lines(text), file=file or sys.stdout, flush=True)


def output_console(plain_width: int, stderr: bool = False) -> "Console":
    """Standard output, or error, as a rich console on which plain strings are text, not markup.

    plain_width: the columns of a pipe or a file, where nobody folds lines. COLUMNS does not count
    there: programs that once read a line from a terminal leave it to their children.
    """
    from rich.console import Console
    from rich.text import Text

    class PlainStrings(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(printable_lines(text), **options)

    console = PlainStrings(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = plain_width
    return console
