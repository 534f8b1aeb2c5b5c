"""Drivers that earlier runs of this process are done with: the next run starts from them.

To build a driver, with the hundreds of components below it, takes longer than a short run.
"""

import os
import resource
import threading
from typing import Any

from allocsim.driver import Driver, driver_class
from allocsim.policy import Policy

_MOST_IDLE = 16
_MOST_WITH_MEMORY = os.cpu_count() or 1  # runs may be under way side by side

_idle: list[Driver] = []  # the latest last
_lock = threading.Lock()


def take(policy: type[Policy], **parameters: Any) -> Driver:
    """A driver of `policy` as `driver_for` makes it, for `give_back` when the run is over."""
    cls = driver_class(policy)  # type: ignore[arg-type]
    if _address_space_is_limited():
        clear()
    with _lock:
        at = next((i for i in reversed(range(len(_idle))) if type(_idle[i]) is cls), None)
        driver = _idle.pop(at) if at is not None else None
    if driver is None:
        return cls(_restarts=True, policy=parameters)
    driver.restart(policy=parameters)
    return driver


def give_back(driver: Driver) -> None:
    """Keep a driver for later runs; nobody may use it any more.

    Drivers of earlier runs give up their memory, or go, where there are many.
    """
    if not driver.can_restart:
        driver.close()
        return
    with _lock:
        _idle.append(driver)
        surplus = _idle.pop(0) if len(_idle) > _MOST_IDLE else None
        older = _idle[-_MOST_WITH_MEMORY - 1] if len(_idle) > _MOST_WITH_MEMORY else None
        if older is not None:
            older.release_memory()
    if surplus is not None:
        surplus.close()


def _address_space_is_limited() -> bool:
    """Whether what idle drivers reserve would be missed."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def clear() -> None:
    """Close all idle drivers."""
    with _lock:
        drivers, _idle[:] = _idle[:], []
    for driver in drivers:
        driver.close()
