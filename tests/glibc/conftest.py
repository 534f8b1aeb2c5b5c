"""Where the real glibc that is modelled can be run."""

import platform

import pytest

from allocsim.errors import InputError
from allocsim.ground_truth import ReplayNotPermitted, replay
from allocsim.ground_truth.verify import MODELLED_VERSION
from allocsim.trace import Op, Trace


@pytest.fixture(scope="session")
def real_glibc() -> None:
    """Skips where the machine's C library is another one, or cannot be observed."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("the replayer knows 64-bit x86 Linux only")
    try:
        libc = replay(Trace.of(op=[Op.MALLOC], object=[0], size=[1])).libc
    except (InputError, ReplayNotPermitted) as error:
        pytest.skip(str(error))
    if libc != MODELLED_VERSION:
        pytest.skip(f"the C library is {libc}, the model's is {MODELLED_VERSION}")
