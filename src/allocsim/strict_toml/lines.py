"""Finds the line of every key in a TOML text: `tomllib` gives values, not places."""

import re
import tomllib
from collections import Counter

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys of tables and indices of arrays, from the outside in."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'", re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


class KeyLines:
    """The line (from 1) of each key and array element of a text that `tomllib` has accepted."""

    def __init__(self, text: str):
        self._lines: dict[KeyPath, int] = {(): 1}
        self._text = text
        self._at = 0
        self._counted_to, self._line_there = 0, 1
        self._tables: Counter[KeyPath] = Counter()
        self._document()

    def __getitem__(self, path: KeyPath) -> int:
        """The line of that key; of the nearest enclosing one where the text does not hold it."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def _document(self) -> None:
        table: KeyPath = ()
        while self._skip_blank():
            if self._take("[["):
                table = self._open_table(array=True)
            elif self._take("["):
                table = self._open_table(array=False)
            else:
                self._key_value(table)

    def _open_table(self, array: bool) -> KeyPath:
        line = self._line()
        keys = self._keys()
        self._at = self._text.index("]" * (1 + array), self._at) + 1 + array
        path = self._inside((), keys[:-1], line)
        path = (*path, keys[-1])
        self._lines.setdefault(path, line)
        if array:
            self._tables[path] += 1
        return self._last_element(path, line)

    def _inside(self, path: KeyPath, keys: list[str], line: int) -> KeyPath:
        """The path of `keys` under `path`, entering the last element of each array of tables."""
        for key in keys:
            path = (*path, key)
            self._lines.setdefault(path, line)
            path = self._last_element(path, line)
        return path

    def _last_element(self, path: KeyPath, line: int) -> KeyPath:
        if path not in self._tables:
            return path
        path = (*path, self._tables[path] - 1)
        self._lines.setdefault(path, line)
        return path

    def _key_value(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for key in self._keys():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._at = self._text.index("=", self._at) + 1
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip_blank()
        self._lines.setdefault(path, self._line())
        if self._take("["):
            self._array(path)
        elif self._take("{"):
            self._inline_table(path)
        else:
            self._token(STRING) or self._token(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        index = 0
        while self._skip_blank() and not self._take("]"):
            if not self._take(","):
                self._value((*path, index))
                index += 1

    def _inline_table(self, path: KeyPath) -> None:
        while self._skip_blank() and not self._take("}"):
            if not self._take(","):
                self._key_value(path)

    def _keys(self) -> list[str]:
        """A dotted key, its parts unquoted."""
        keys = []
        while True:
            self._skip_blank()
            quoted = self._token(STRING)
            keys.append(_unquoted(quoted) if quoted else self._token(_BARE_KEY))
            self._skip_blank()
            if not self._take("."):
                return keys

    def _skip_blank(self) -> bool:
        """Passes white space and comments; False at the end of the text."""
        self._token(_BLANK)
        return self._at < len(self._text)

    def _take(self, mark: str) -> bool:
        found = self._text.startswith(mark, self._at)
        self._at += len(mark) if found else 0
        return found

    def _token(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _line(self) -> int:
        self._line_there += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._line_there


def _unquoted(key: str) -> str:
    return str(tomllib.loads(f"key = {key}")["key"])
