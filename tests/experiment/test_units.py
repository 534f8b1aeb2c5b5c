import pytest

from allocsim.display_units import show_bytes, show_ns


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1000, "1000 B"),
        (4096, "4 KiB"),
        (1536, "1.50 KiB"),
        (131072, "128 KiB"),
        (33554432, "32 MiB"),
        (1234567, "1.18 MiB"),
        (123456789, "118 MiB"),
        (float("nan"), "-"),
    ],
)
def test_bytes_are_shown_with_binary_units(n_bytes, text):
    assert show_bytes(n_bytes) == text


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "0 ns"),
        (0.25, "0.25 ns"),
        (999, "999 ns"),
        (1250, "1.25 µs"),
        (27.8e6, "27.8 ms"),
        (3.2e10, "32 s"),
    ],
)
def test_times_are_shown_with_the_unit_that_suits(time_ns, text):
    assert show_ns(time_ns) == text
