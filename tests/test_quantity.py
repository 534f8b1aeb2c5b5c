"""Numbers and sizes as people write them."""

import pytest

from allocsim.quantity import parse_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("65536", 65536), ("64K", 65536), ("64k", 65536), ("64KiB", 65536), ("64 KiB", 65536),
        ("64 K", 65536), ("0x10", 16), ("0x10K", 16384), ("1T", 2**40), ("2 TiB", 2**41),
        ("1g", 2**30), ("17 B", 17), ("1.5 MiB", 3 * 2**19), ("0.1K", 102), ("-3", -3),
        ("1_000", 1000), (" 7 ", 7), ("+7", 7), ("12345678901234567891 B", 12345678901234567891),
    ],
)  # fmt: skip
def test_whole_numbers_and_sizes(text, number):
    value = parse_quantity(text)
    assert (value, type(value)) == (number, int)


@pytest.mark.parametrize(("text", "number"), [("0.5", 0.5), (".5", 0.5), ("1e3", 1e3), ("2.", 2.0)])
def test_decimals(text, number):
    value = parse_quantity(text)
    assert (value, type(value)) == (number, float)


@pytest.mark.parametrize(
    "text",
    [
        "", "K", "1\0", "64 KB", "64 kB", "64 mb", "64 kib", "64 KKiB", "64 PiB", "1,5K", "inf",
        "nan", "Infinity", "1e999", "-1e999", "1e308 TiB", "1 2", "1__0", "\u0663", "9" * 5000,
    ],
)  # fmt: skip
def test_everything_else_is_refused_in_a_short_line(text):
    with pytest.raises(ValueError, match=r"no size|any machine|too long") as refusal:
        parse_quantity(text)
    assert len(str(refusal.value)) < 140
