"""Where the real glibc of a modelled version can be run."""

import platform
from functools import cache

import pytest

from allocsim.errors import InputError
from allocsim.glibc.versions import VERSIONS
from allocsim.ground_truth import ReplayNotPermitted, replay
from allocsim.ground_truth.libc_packages import libc_for
from allocsim.trace import Op, Trace


@pytest.fixture(scope="session")
def real_glibc() -> None:
    """Skips where glibc of the model's default version cannot be run or observed."""
    _skip_without(VERSIONS[0])


_MARKS = {VERSIONS[0]: ()}  # the others take as long once more


@pytest.fixture(
    scope="session",
    params=[pytest.param(v, marks=_MARKS.get(v, pytest.mark.full)) for v in VERSIONS],
    ids=str,
)
def version(request) -> float:
    """Each version of the model; skips where the library is neither the machine's nor fetched."""
    _skip_without(request.param)
    return request.param


def _skip_without(version: float) -> None:
    if reason := _why_not(str(version)):
        pytest.skip(reason)


@cache
def _why_not(version: str) -> str:
    """Why glibc of this version cannot be run here, or ""."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "the replayer knows 64-bit x86 Linux only"
    try:
        replay(Trace.of(op=[Op.MALLOC], object=[0], size=[1]), libc=libc_for(version))
    except (InputError, ReplayNotPermitted) as error:
        return str(error)
    return ""
