"""Parameters from GLIBC_TUNABLES strings and MALLOC_ variables, read as glibc 2.36 reads them.

That reader refuses nothing: what it does not know, or what is out of a tunable's range, it skips.
"""

import re
from collections.abc import Iterable, Mapping

from allocsim.glibc.tunables import LARGEST_BYTES

_LARGEST = 2**64 - 1
_RANGES = {"perturb": (0, 255), "mmap_max": (0, 2**31 - 1), "arena_max": (1, _LARGEST)}
_RANGES["arena_test"] = _RANGES["arena_max"]
_SIZES = (
    *("mmap_threshold", "trim_threshold", "top_pad", "hugetlb", "mxfast"),
    *("tcache_count", "tcache_max", "tcache_unsorted_limit"),
)
_RANGES |= dict.fromkeys(_SIZES, (0, _LARGEST))
_SIGNED = ("perturb", "mmap_max")

VARIABLES = {
    "MALLOC_ARENA_MAX": "arena_max",
    "MALLOC_ARENA_TEST": "arena_test",
    "MALLOC_MMAP_MAX_": "mmap_max",
    "MALLOC_MMAP_THRESHOLD_": "mmap_threshold",
    "MALLOC_PERTURB_": "perturb",
    "MALLOC_TOP_PAD_": "top_pad",
    "MALLOC_TRIM_THRESHOLD_": "trim_threshold",
}
"""Environment variables that set a parameter, and which."""

_PREFIX = "glibc.malloc."
_NUMBER = re.compile(r"[ \t]*([+-]?)(0[xX](?=[0-9a-fA-F])[0-9a-fA-F]+|[0-9]*)")


def parameters_from_tunables(text: str) -> dict[str, int]:
    """The parameters that a string such as "glibc.malloc.arena_max=2:…" sets.

    `text` may start with "GLIBC_TUNABLES=". Tunables of other parts of glibc are skipped.
    """
    settings = (part.partition("=") for part in text.removeprefix("GLIBC_TUNABLES=").split(":"))
    named = ((name, value) for name, equals, value in settings if equals)
    return _accepted(
        (name.removeprefix(_PREFIX), value) for name, value in named if name.startswith(_PREFIX)
    )


def parameters_from_environment(environment: Mapping[str, str]) -> dict[str, int]:
    """The parameters that environment variables set; GLIBC_TUNABLES wins over the others."""
    variables = ((VARIABLES[k], v) for k, v in environment.items() if k in VARIABLES)
    return _accepted(variables) | parameters_from_tunables(environment.get("GLIBC_TUNABLES", ""))


def _accepted(settings: Iterable[tuple[str, str]]) -> dict[str, int]:
    parameters = {}
    for name, text in settings:
        low, high = _RANGES.get(name, (0, -1))
        value = _number(text, name in _SIGNED)
        if low <= value <= high:
            parameters[name] = min(value, LARGEST_BYTES)
    return parameters


def _number(text: str, signed: bool) -> int:
    """The leading number of `text` in 64 bits, as C writes numbers; 0 where there is none."""
    found = _NUMBER.match(text)
    sign, digits = (found[1], found[2]) if found else ("", "")
    value = min(_magnitude(digits), _LARGEST)
    if sign == "-":
        value = -value % 2**64
    return value - 2**64 if signed and value >= 2**63 else value


def _magnitude(digits: str) -> int:
    if digits[:2] in ("0x", "0X"):
        return int(digits, 16)
    if digits[:1] == "0":
        octal = re.match(r"[0-7]*", digits)
        return int(octal[0] or "0", 8) if octal else 0
    return int(digits or "0")
