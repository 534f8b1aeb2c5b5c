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
            [
                "2: shapes[0].height: '4 kB' is no size; write bytes as a number, or text like "
                "'128 KiB'"
            ],
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
    [("0 B", 0), ("4KiB", 4096), ("1.5 MiB", 3 * 2**19), ("32 MiB", 2**25), (17, 17), (None, None)],
)
def test_sizes_may_carry_a_unit(text, size):
    assert parse_size(text) == size
