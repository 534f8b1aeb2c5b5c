"""What a policy's method returned, where that was no number and the framework fell over it."""

import traceback
from operator import index
from pathlib import Path
from reprlib import repr as short_repr
from types import FrameType, TracebackType
from typing import Any

# Where the framework has what a policy returned: file, function, variable, method ("": the op's).
_PLACES = {
    ("driver.py", "drive"): ("at", ""),
    ("driver.py", "other"): ("at", ""),
    ("driver.py", "reallocate"): ("at", ""),
    ("driver.py", "placed"): ("at", ""),
    ("referee.py", "_enter"): ("address", ""),
    ("policy.py", "realloc"): ("usable", "usable_size"),
}
_PACKAGE = Path(__file__).parents[1]
_SHOULD = {
    "": "it must return an address, an int, and 0 when memory is exhausted",
    "usable_size": "it must return a number of bytes, an int",
}


def wrong_return(traceback_: TracebackType | None, call: str) -> str:
    """A sentence about the method and the value; empty if it was not a return value that failed.

    call: the op's method.
    """
    for frame, _ in traceback.walk_tb(traceback_):
        file = Path(frame.f_code.co_filename)
        place = _PLACES.get((file.name, frame.f_code.co_name))
        if place is None or not file.is_relative_to(_PACKAGE):
            continue
        variable, method = place
        if variable in frame.f_locals and not _is_whole(frame.f_locals[variable]):
            value = short_repr(frame.f_locals[variable])
            return f"{method or _called(frame, call)} returned {value}; {_SHOULD[method]}"
    return ""


def _called(frame: FrameType, call: str) -> str:
    """The method behind an op's call: realloc of an object that is not there is malloc."""
    name = frame.f_code.co_name
    if name == "_enter":
        return str(frame.f_locals["call"])
    return "malloc" if name == "reallocate" and frame.f_locals["old"] == 0 else call


def _is_whole(value: Any) -> bool:
    try:
        index(value)
    except TypeError:
        return False
    return True
