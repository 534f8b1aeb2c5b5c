from typing import Annotated, Literal

import pytest
from pydantic import Field

from allocsim.errors import InputError
from allocsim.strict_toml import SizeBytes, StrictModel, load_toml, parse_size


class Circle(StrictModel):
    shape: Literal["circle"]
    radius: float = Field(gt=0)


class Box(StrictModel):
    shape: Literal["box"]
    width: int
    height: SizeBytes = 1


class Drawing(StrictModel):
    title: str
    colour: Literal["red", "green", "blue"] = "red"
    border: bool = False
    shapes: list[Annotated[Circle | Box, Field(discriminator="shape")]] = Field(min_length=1)
    sizes: dict[str, int] = Field(default_factory=dict)


def errors(tmp_path, text):
    path = tmp_path / "drawing.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_toml(path, Drawing)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


def test_a_correct_file_becomes_its_model(tmp_path):
    path = tmp_path / "drawing.toml"
    path.write_text(
        'title = "t"\n[[shapes]]\nshape = "circle"\nradius = 2\n'
        '[[shapes]]\nshape = "box"\nwidth = 1\nheight = "4 KiB"\n'
    )
    drawing = load_toml(path, Drawing)
    assert drawing.shapes == [
        Circle(shape="circle", radius=2.0),
        Box(shape="box", width=1, height=4096),
    ]


def test_all_mistakes_are_told_at_once_each_with_its_line(tmp_path):
    text = """\
colour = "gren"
bordr = true
[[shapes]]
shape = "box"
width = "wide"
hight = 2
[[shapes]]
shape = "circle"
radius = -1
[[shapes]]
shape = "cirle"
[sizes]
small = 1.5
"""
    assert errors(tmp_path, text) == [
        "1: colour: unknown value 'gren'; allowed: red, green, blue; did you mean 'green'?",
        "1: title: missing; this key is required",
        "2: bordr: unknown key 'bordr'; allowed: title, colour, border, shapes, sizes; "
        "did you mean 'border'?",
        "5: shapes[0].width: must be an integer, not the string 'wide'",
        "6: shapes[0].hight: unknown key 'hight'; allowed: shape, width, height; "
        "did you mean 'height'?",
        "9: shapes[1].radius: must be greater than 0.0, not -1",
        "11: shapes[2].shape: unknown shape 'cirle'; allowed: circle, box; did you mean 'circle'?",
        "13: sizes.small: must be an integer, not 1.5",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "title = 1\nshapes = []\n",
            ["1: title: must be a string, not 1", "2: shapes: must hold at least 1, not 0"],
        ),
        ('title = "a"\nshapes = 3\n', ["2: shapes: must be an array, not 3"]),
        (
            'title = "a"\nshapes = [{ width = 1 }]\n',
            ["2: shapes[0]: missing 'shape', which says what kind of table this is"],
        ),
        (
            'title = "a"\nborder = 1\nshapes = [{ shape = "box", width = true }]\n',
            [
                "2: border: must be true or false, not 1",
                "3: shapes[0].width: must be an integer, not true",
            ],
        ),
        (
            'title = "a"\nshapes = [{ shape = "box", width = 1, height = "4 kB" }]\n',
            ["2: shapes[0].height: '4 kB' is no size or number; write 131072, '128 KiB' or 128K"],
        ),
    ],
)
def test_each_kind_of_mistake_says_what_would_be_right(tmp_path, text, expected):
    assert errors(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [('title = "a\nx = 1\n', 1), ("a = 1\nb 2\n", 2), ("a = 1\na = 2\n", 2), ("a = [1,\n\n2", 3)],
)
def test_broken_syntax_is_told_with_its_line(tmp_path, text, line):
    [message] = errors(tmp_path, text)
    assert message.startswith(f"{line}: ")


def test_a_missing_file_and_a_binary_one_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.toml: cannot be read: No such file"):
        load_toml(tmp_path / "absent.toml", Drawing)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a UTF-8 text"):
        load_toml(tmp_path / "binary.toml", Drawing)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0 B", 0), ("4KiB", 4096), ("1.5 MiB", 3 * 2**19), ("64K", 2**16), (17, 17), (None, None)],
)
def test_sizes_may_carry_a_unit(text, size):
    assert parse_size(text) == size


def test_a_size_that_no_machine_has_is_refused_in_a_short_line(tmp_path):
    huge = "9" * 50
    text = f'title = "t"\nshapes = [{{ shape = "box", width = 1, height = "{huge} KiB" }}]\n'
    [message] = errors(tmp_path, text)
    assert message.startswith("2: shapes[0].height: must be at most 140737488355328, not the")
    [message] = errors(tmp_path, text.replace(huge, huge * 9))
    assert message.startswith("2: shapes[0].height: '9999")
    assert len(message) < 150


@pytest.mark.parametrize("opening", ["[", "{ a = ", '{ "]" = ["#", '])
@pytest.mark.parametrize("levels", [100, 450, 3000])
def test_deep_nesting_is_refused_with_its_line(tmp_path, opening, levels):
    closing = "".join("]" if c == "[" else "}" for c in reversed(opening) if c in "[{")
    text = "# a comment [[[[[[\ntitle = '[[['\nsizes = " + opening * levels + "1" + closing * levels
    [message] = errors(tmp_path, text)
    assert message == "3: what begins here is nested more than 64 levels deep"


def test_endless_dotted_keys_are_refused_with_their_line(tmp_path):
    [message] = errors(tmp_path, "title = 't'\n" + ".".join("a" * 500_000) + " = 1\n")
    assert message == "2: the key is nested more than 64 levels deep"
    [message] = errors(tmp_path, "title = 't'\n[" + " . ".join(['"b c"'] * 100) + "]\n")
    assert message == "2: the key is nested more than 64 levels deep"


@pytest.mark.parametrize("number", ["9" * 19, "-" + "9" * 19, "0x1" + "0" * 16, "0x" + "f" * 9000])
def test_integers_beyond_64_bits_are_refused_with_their_key(tmp_path, number):
    [message] = errors(tmp_path, f"title = 't'\nshapes = [\n{number}]\n")
    assert message == "3: shapes[0]: is an integer of more than 64 bits"


def test_an_integer_that_python_refuses_is_refused_with_its_line(tmp_path):
    [message] = errors(tmp_path, f"title = 't'\n\nx = {'9' * 5000}\n")
    assert message == "3: a number is an integer of more than 64 bits"


def test_of_very_many_mistakes_the_first_are_told(tmp_path):
    found = errors(tmp_path, "\n".join(f"key{i} = 1" for i in range(300)))
    assert len(found) == 51
    assert found[-1] == " and 252 more mistakes"
    [message] = errors(tmp_path, "\n".join(f"key{i} = 1" for i in range(20_000)))
    assert message == "1: the file: 20,002 mistakes; is it meant to be another kind of file?"


def test_text_of_the_file_is_printable_and_short_in_messages(tmp_path):
    [unknown, shape, *_] = errors(
        tmp_path,
        'title = "t"\nshapes = []\n"a\\nb\\u001b[31m" = 1\n'
        + f'colour = "{"r" * 10_000}\\u202e"\n',
    )
    for message in (unknown, shape):
        assert message.isprintable()
        assert len(message) < 250


def test_a_device_is_no_file(tmp_path):
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="not an ordinary file"):
        load_toml(tmp_path / "zero.toml", Drawing)
