"""Standard output and standard error: any encoding, any width, and no text that drives them."""

import codecs
import sys
from typing import TYPE_CHECKING, Any, TextIO

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
    """Makes standard output and standard error take every text, whatever their encoding lacks."""
    codecs.register_error(_HANDLER, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors=_HANDLER)


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
