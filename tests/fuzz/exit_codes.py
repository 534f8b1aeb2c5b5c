"""The exit codes that the documents allow, read from their table."""

import re
from functools import cache
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "exit_codes.md"
_ROW = re.compile(r"^\| `([a-z -]+)` \|(.*)\|$", re.MULTILINE)
CODES = (0, 1, 2, 130)
NEVER = "\N{EN DASH}"


@cache
def table() -> dict[str, frozenset[int]]:
    """The codes of each command; a dash in a column means never."""
    found = {}
    for command, cells in _ROW.findall(PAGE.read_text()):
        texts = [cell.strip() for cell in cells.split("|")]
        assert len(texts) == len(CODES), command
        found[command] = frozenset(c for c, t in zip(CODES, texts, strict=True) if t != NEVER)
    return found


def documented(arguments: tuple[str, ...]) -> frozenset[int]:
    """The codes that a command line may end with; all that there are for `record`."""
    command = " ".join(arguments[: 2 if arguments[:1] == ("trace",) else 1])
    if command == "record":
        return frozenset(range(256))
    return table().get(command, frozenset({0, 2}))
