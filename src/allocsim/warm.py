"""`allocsim warm`: compiles policies ahead of time, so that later runs start compiled."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from allocsim.cache import make_cache_folder
from allocsim.component.machine_code import FOLDER
from allocsim.engine import compile_all, entry_points, is_warm
from allocsim.machine import Machine
from allocsim.policy import load_policy, policy_names
from allocsim.terminal import say


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


def warm(policy: str, threads: bool = False) -> Warmed:
    """Compile what runs of the policy of that name or file need, unless the cache has it.

    threads: also what those of several threads need that meet in simulated time.
    """
    from allocsim.component.entry import NotCompilable

    kinds = (False, True) if threads else (False,)
    drivers = {kind: Machine().driver(load_policy(policy), threaded=kind) for kind in kinds}
    points = {threaded: entry_points(threaded, huge_pages=False) for threaded in kinds}
    if all(is_warm(driver, points[kind]) for kind, driver in drivers.items()):
        return Warmed(policy, was_cached=True)
    started = time.process_time()
    try:
        for kind, driver in drivers.items():
            compile_all(driver, points[kind])
    except NotCompilable as error:
        return Warmed(policy, refused=str(error))
    return Warmed(policy, time.process_time() - started)


def warm_all(policies: Iterable[str] = (), threads: bool = False) -> Iterator[Warmed]:
    """Warm the named policies one after the other; all that are known by name when none is."""
    for policy in list(policies) or policy_names():
        yield warm(policy, threads)


def warm_command(policies: Iterable[str], threads: bool) -> int:
    """Warm policies and print a line for each; 1 if one of them cannot be compiled, else 0.

    OutputError when the cache takes no files.
    """
    make_cache_folder(FOLDER)
    status = 0
    for warmed in warm_all(policies, threads):
        say(warmed)
        status |= bool(warmed.refused)
    return status
