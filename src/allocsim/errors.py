"""The exceptions that allocsim raises on purpose.

AllocsimError
├── InputError       a file, option or specification that the user gave is wrong (exit code 2)
│   └── OutputError  a file or folder that the user named cannot be written
└── SimulationError  the simulated program or policy did what a real one would die of
"""

from collections.abc import Iterable


class AllocsimError(Exception):
    """Base of every error that is meant for the user: the command line shows no traceback."""


class InputError(AllocsimError):
    """Wrong input: the message names file, line or row, what is wrong and what would be right."""


class OutputError(InputError):
    """An output that cannot be written: the message names the file or folder and the reason."""


class SimulationError(AllocsimError):
    """A simulated access or call that would kill a real program, or a policy that misbehaves.

    Raised with plain arguments, because compiled code cannot format text: strings and integers,
    which are shown joined, integers as hexadecimal addresses.
    """

    def __str__(self) -> str:
        return " ".join(hex(part) if isinstance(part, int) else str(part) for part in self.args)


def suggestion(name: str, known: Iterable[str], near: Iterable[str] = ()) -> str:
    """What a user who wrote `name` could have meant: the nearest known name, or all of them.

    near: the names to compare with, where they are not the ones to list.
    """
    from difflib import get_close_matches

    listed = list(known)
    found = get_close_matches(name, list(near) or listed, 1)
    return f"did you mean {found[0]!r}?" if found else f"known: {', '.join(listed) or 'none'}"


def printable(text: object) -> str:
    r"""The text in one line that cannot steer a terminal: an escape character is shown as `\x1b`.

    Whatever `str.isprintable` does not count as printable is written out; spaces stay.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text)
    )
