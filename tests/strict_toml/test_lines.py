import tomllib

import pytest

from allocsim.strict_toml.lines import KeyLines

TEXT = """\
# a comment with [brackets] and key = 1
name = "a # no comment"
numbers = [
    1,  # one
    2, [3,
    4],
]
inline = { a = 1, b.c = [5, 6], d = { e = "}" } }
long = \"\"\"
[not.a.table]
x = 1 \\\"\"\"
\"\"\"
raw = '''
'quoted' ]'''
dotted.key."with space" = 7

[table]
value = 1979-05-27 07:32:00
[table.sub . deeper]
x = 'y'

[[runs]]
id = 1
[runs.options]
fast = true
[[runs.parts]]
n = 1
[[runs.parts]]
n = 2

[[runs]]
id = 2
[[runs.parts]]
n = 3
"""


@pytest.fixture(scope="module")
def lines():
    tomllib.loads(TEXT)
    return KeyLines(TEXT)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 2),
        (("numbers",), 3),
        (("numbers", 0), 4),
        (("numbers", 1), 5),
        (("numbers", 2, 1), 6),
        (("inline", "b", "c", 1), 8),
        (("inline", "d", "e"), 8),
        (("long",), 9),
        (("raw",), 13),
        (("dotted", "key", "with space"), 15),
        (("table", "value"), 18),
        (("table", "sub", "deeper", "x"), 20),
        (("runs",), 22),
        (("runs", 0, "id"), 23),
        (("runs", 0, "options", "fast"), 25),
        (("runs", 0, "parts", 0, "n"), 27),
        (("runs", 0, "parts", 1, "n"), 29),
        (("runs", 1), 31),
        (("runs", 1, "id"), 32),
        (("runs", 1, "parts", 0, "n"), 34),
    ],
)
def test_every_kind_of_key_has_its_line(lines, path, line):
    assert lines[path] == line


def test_a_missing_key_gets_the_line_of_what_encloses_it(lines):
    assert lines["runs", 1, "absent", "deeper"] == 31
    assert lines["absent",] == 1


def test_every_value_that_tomllib_sees_has_a_line_of_its_own(lines):
    def walk(value, path):
        children = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in children:
            assert (*path, key) in lines._lines
            if isinstance(child, dict | list):
                walk(child, (*path, key))

    walk(tomllib.loads(TEXT), ())


def test_lines_are_found_in_time_that_grows_with_the_text_only():
    n_values = 40_000
    text = "sizes = [\n" + "1,\n" * n_values + "]\n[last]\n"
    lines = _CountingLines(text)
    assert lines["sizes", n_values - 1] == n_values + 1
    assert lines["last",] == n_values + 3
    assert lines.looked_at < 3 * len(text)


class _CountingText(str):
    """Counts the characters in which newlines are looked for."""

    looked_at = 0

    def count(self, what, start=0, end=None):
        self.looked_at += (len(self) if end is None else end) - start
        return super().count(what, start, len(self) if end is None else end)


class _CountingLines(KeyLines):
    def __init__(self, text):
        counting = _CountingText(text)
        super().__init__(counting)
        self.looked_at = counting.looked_at
