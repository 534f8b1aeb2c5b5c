"""Bytes and nanoseconds as people read them."""

import math

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_TIME = (("ns", 1), ("µs", 1e3), ("ms", 1e6), ("s", 1e9))


def show_bytes(n_bytes: float) -> str:
    """Three significant digits with a binary unit; whole multiples without decimals: `128 KiB`."""
    if not math.isfinite(n_bytes):
        return "-"
    step = 0
    while abs(n_bytes) >= 1024 and step < len(_BINARY) - 1:
        n_bytes /= 1024
        step += 1
    return f"{_short(n_bytes)} {_BINARY[step]}"


def show_ns(time_ns: float) -> str:
    """Three significant digits with the unit that suits: `1.25 ms`."""
    if not math.isfinite(time_ns):
        return "-"
    unit, size = next((u for u in reversed(_TIME) if abs(time_ns) >= u[1]), _TIME[0])
    return f"{_short(time_ns / size)} {unit}"


def _short(value: float) -> str:
    if value == round(value):
        return f"{value:.0f}"
    return f"{value:.{max(0, 2 - int(math.log10(abs(value)))) if abs(value) >= 1 else 2}f}"
