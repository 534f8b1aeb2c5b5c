"""Parameters from GLIBC_TUNABLES strings and MALLOC_ variables, read as glibc reads them.

What it does not know, or what is out of a tunable's range, it skips. 2.36 takes the number that a
value starts with; 2.41 and 2.43 skip what is not a number as a whole, and skip the whole string if
its last part has no "=", or a value has another.
"""

import re
from collections.abc import Iterable, Mapping

from allocsim.glibc.tunables import LARGEST_BYTES
from allocsim.glibc.versions import VERSIONS

STRICT_FROM = 2.41

_LARGEST = 2**64 - 1
RANGES = {"perturb": (0, 255), "mmap_max": (0, 2**31 - 1), "arena_max": (1, _LARGEST)}
RANGES["arena_test"] = RANGES["arena_max"]
_SIZES = (
    *("mmap_threshold", "trim_threshold", "top_pad", "hugetlb", "mxfast"),
    *("tcache_count", "tcache_max", "tcache_unsorted_limit"),
)
RANGES |= dict.fromkeys(_SIZES, (0, _LARGEST))
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

TUNABLES_VARIABLE = "GLIBC_TUNABLES"
PREFIX = "glibc.malloc."
_NUMBER = re.compile(r"[ \t]*([+-]?)(0[xX](?=[0-9a-fA-F])[0-9a-fA-F]+|[0-9]*)")
_WHOLE_NUMBER = re.compile(r"[ \t]*([+-]?)(0[xX][0-9a-fA-F]*|0[0-7]*|[1-9][0-9]*|)\Z")


def parameters_from_tunables(text: str, version: float = VERSIONS[0]) -> dict[str, int]:
    """The parameters that a string such as "glibc.malloc.arena_max=2:…" sets.

    `text` may start with "GLIBC_TUNABLES=". Tunables of other parts of glibc are skipped.
    """
    parts = text.removeprefix("GLIBC_TUNABLES=").split(":")
    named = [(name, value) for name, equals, value in (p.partition("=") for p in parts) if equals]
    ours = [(n.removeprefix(PREFIX), value) for n, value in named if n.startswith(PREFIX)]
    if version >= STRICT_FROM:
        if "=" not in parts[-1] or any("=" in value for _, value in named):
            return {}
        ours = list(dict(ours).items())  # of several of one name, the last counts
    return _accepted(ours, version)


def parameters_from_environment(
    environment: Mapping[str, str], version: float = VERSIONS[0]
) -> dict[str, int]:
    """The parameters that environment variables set; GLIBC_TUNABLES wins over the others."""
    variables = ((VARIABLES[k], v) for k, v in environment.items() if k in VARIABLES)
    tunables = parameters_from_tunables(environment.get(TUNABLES_VARIABLE, ""), version)
    return _accepted(variables, version) | tunables


def number_read(name: str, text: str, version: float = VERSIONS[0]) -> int | None:
    """The number that glibc reads for parameter `name`; None if it takes the text for none."""
    number = _number_since_2_41 if version >= STRICT_FROM else _number
    return number(text, name in _SIGNED)


def unread(text: str) -> str:
    """What is left of a value behind the number that 2.36 reads."""
    found = _NUMBER.match(text)
    return text[found.end() :] if found else text


def _accepted(settings: Iterable[tuple[str, str]], version: float) -> dict[str, int]:
    parameters = {}
    for name, text in settings:
        low, high = RANGES.get(name, (0, -1))
        value = number_read(name, text, version)
        if value is not None and low <= value <= high:
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


def _number_since_2_41(text: str, signed: bool) -> int | None:
    """The number that the whole of `text` is, 0 for none; None if it is no number, or too large.

    Signed ones are cut to 32 bits.
    """
    found = _WHOLE_NUMBER.match(text)
    if found is None or (value := _magnitude(found[2])) > _LARGEST:
        return None
    if found[1] == "-":
        value = -value % 2**64
    return (value + 2**31) % 2**32 - 2**31 if signed else value


def _magnitude(digits: str) -> int:
    if digits[:2] in ("0x", "0X"):
        return int(digits[2:] or "0", 16)
    if digits[:1] == "0":
        octal = re.match(r"[0-7]*", digits)
        return int(octal[0] or "0", 8) if octal else 0
    return int(digits or "0")
