"""What parameters of the glibc model do beside what their names say, as sentences for people."""

from collections.abc import Mapping

from allocsim.glibc.chunks import chunk_bytes
from allocsim.glibc.tcache import LARGEST_CACHED_BYTES, LARGEST_EVER_CACHED_BYTES
from allocsim.glibc.tunables import LARGEST_FAST_REQUEST_BYTES, MOST_CACHED, NOT_SET
from allocsim.glibc.versions import VERSIONS

THRESHOLD = "mmap_threshold"
PINNING = (THRESHOLD, "trim_threshold", "top_pad", "mmap_max")
"""Setting any of these, even to its default, keeps the thresholds from adapting."""


def notes_on_parameters(given: Mapping[str, float], defaults: Mapping[str, float]) -> list[str]:
    """Sentences about parameters that were given, for a policy with these defaults."""
    notes = []
    pinning = [name for name in PINNING if given.get(name, NOT_SET) != NOT_SET]
    if pinning and given.get(THRESHOLD, defaults.get(THRESHOLD, NOT_SET)) == NOT_SET:
        notes.append(
            f"setting {' and '.join(pinning)} pins {THRESHOLD} at 131072 bytes: glibc adapts it "
            f"only where none of {', '.join(PINNING)} is set"
        )
    version = given.get("version", defaults.get("version", VERSIONS[0]))
    for name, most in _limits(version).items():
        if given.get(name, 0) > most:
            notes.append(f"{name} above {most} is ignored by glibc {version:.2f}")
    if "mxfast" in given and version >= VERSIONS[2]:
        notes.append(f"mxfast is ignored by glibc {version:.2f}, which has no fast bins")
    return notes


def _limits(version: float) -> dict[str, int]:
    """The largest value of a parameter that counts, where that is less than one may give."""
    largest_chunk = LARGEST_EVER_CACHED_BYTES if version >= VERSIONS[2] else LARGEST_CACHED_BYTES
    limits = {"tcache_count": MOST_CACHED, "tcache_max": largest_chunk - 8}
    assert chunk_bytes(limits["tcache_max"]) == largest_chunk
    return limits | ({} if version >= VERSIONS[2] else {"mxfast": LARGEST_FAST_REQUEST_BYTES})
