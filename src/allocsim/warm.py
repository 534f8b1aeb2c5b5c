"""`allocsim warm`: compiles policies ahead of time, so that later runs start compiled."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from allocsim.cache import cache_dir
from allocsim.driver import driver_for
from allocsim.engine import drive_signature
from allocsim.outputs import check_folder
from allocsim.policy import load_policy, policy_names

ENTRIES = ("drive", "walk")
"""The methods of the driver that a run calls compiled."""


@dataclass(frozen=True)
class Warmed:
    """What became of one policy. seconds: of processor time; refused: why it does not compile."""

    policy: str
    seconds: float = 0.0
    was_cached: bool = False
    refused: str = ""

    def __str__(self) -> str:
        if self.refused:
            return f"{self.policy}: runs interpreted: {self.refused}"
        if self.was_cached:
            return f"{self.policy}: compiled already"
        return f"{self.policy}: compiled in {self.seconds:.1f} s"


def warm(policy: str) -> Warmed:
    """Compile what runs of the policy of that name or file need, unless the cache has it."""
    from allocsim.component.entry import NotCompilable, entry, is_cached

    driver = type(driver_for(load_policy(policy)))
    if all(is_cached(driver, method) for method in ENTRIES):
        return Warmed(policy, was_cached=True)
    started = time.process_time()
    try:
        for method in ENTRIES:
            entry(driver, method, drive_signature() if method == "drive" else ())
    except NotCompilable as error:
        return Warmed(policy, refused=str(error))
    return Warmed(policy, time.process_time() - started)


def warm_all(policies: Iterable[str] = ()) -> Iterator[Warmed]:
    """Warm the named policies one after the other; all that are known by name when none is."""
    for policy in list(policies) or policy_names():
        yield warm(policy)


def warm_command(policies: Iterable[str]) -> int:
    """Warm policies and print a line for each; 1 if one of them cannot be compiled, else 0.

    OutputError when the cache takes no files.
    """
    check_folder(cache_dir())
    status = 0
    for warmed in warm_all(policies):
        print(warmed, flush=True)
        status |= bool(warmed.refused)
    return status
