"""Text from users is text wherever it is shown."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocsim.cli import main
from allocsim.errors import printable
from allocsim.terminal import output_console, prepare_streams, say
from allocsim.user_text import file_name, printable_lines, short_names, shortened

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=300)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, µ ± ∞ [/x] $x_$", "plain, µ ± ∞ [/x] $x_$"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("a\u202eb\u200fc\u2066d", r"a\u202eb\u200fc\u2066d"),
        ("\u05e9\u05dc\u05d5\u05dd", "\u05e9\u05dc\u05d5\u05dd"),
        ("\udcff\u2028\x85", r"\udcff\u2028\x85"),
    ],
)
def test_what_drives_a_terminal_is_shown_instead(text, shown):
    assert printable(text) == shown


def test_text_of_lines_keeps_its_lines():
    assert printable_lines("one\n\ttwo\x1b\r\n") == "one\n\ttwo\\x1b\\r\n"


@given(ANY_TEXT)
def test_no_text_leaves_anything_unprintable(text):
    assert printable(text).isprintable()
    printable(text).encode("utf-8")


def test_long_text_keeps_both_ends():
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghijk", 10) == "abcdef…ijk"


@given(st.lists(ANY_TEXT), st.integers(8, 40))
def test_short_names_are_short_and_all_differ(texts, longest):
    names = short_names(texts, longest)
    assert set(names) == set(texts) and len(set(names.values())) == len(names)
    assert all(len(name) <= longest for name in names.values())


@given(st.lists(ANY_TEXT, unique=True))
def test_file_names_are_plain_short_and_all_differ(texts):
    names = [file_name(text) for text in texts]
    assert len(set(names)) == len(names)
    for name in names:
        assert name.isascii() and 0 < len(name) <= 100 and not name.startswith(".")
        assert not set(name) & set("/\\\0 \n")


def test_plain_names_of_files_stay():
    assert file_name("mmap_threshold") == "mmap_threshold"
    assert file_name("../../etc/passwd").startswith("_.._etc_passwd-")


def on_ascii_streams(call):
    """What `call` writes where standard output and error take ASCII, strictly, as Python does."""
    made = [io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2)]
    with redirect_stdout(made[0]), redirect_stderr(made[1]):
        call()
    for stream in made:
        stream.flush()
    return "".join(stream.buffer.getvalue().decode("ascii") for stream in made)


def test_an_ascii_terminal_takes_everything():
    def call():
        prepare_streams()
        say("1.2 µs ±5% … █ ✓ \u4e2d \udcff")

    assert on_ascii_streams(call) == "1.2 us +-5% ... # ok \\u4e2d \\udcff\n"


@pytest.mark.parametrize(
    "arguments",
    [["layout"], ["claims", "\u4e2d\x1b[31m"], ["simulate", "\udcff\x1b"], ["--help"], ["\u202e"]],
)
def test_commands_work_on_an_ascii_terminal(arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["allocsim", *arguments])

    def call():
        with pytest.raises(SystemExit) as done:
            main()
        assert done.value.code in (None, 0, 2)

    text = on_ascii_streams(call)
    assert text and "\x1b" not in text and "Traceback" not in text


def test_errors_show_control_characters(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["allocsim", "run", "no\x1b[2Jsuch.toml"])
    with pytest.raises(SystemExit):
        main()
    assert "no\\x1b[2Jsuch.toml" in capsys.readouterr().err


def test_strings_on_the_console_are_no_markup(capsys):
    output_console(60).print("[/x] [red]a[/red] :smile: \x1b[31m", soft_wrap=True)
    assert capsys.readouterr().out == "[/x] [red]a[/red] :smile: \\x1b[31m\n"


def test_a_pipe_is_as_wide_as_the_command_likes(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert output_console(160).width == 160
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert output_console(160).width == 60
