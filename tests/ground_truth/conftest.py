"""Traces for the replayer, and the reasons why a machine may not be able to run it."""

import platform
import shutil
from collections.abc import Callable

import numpy as np
import pytest

from allocsim.cbuild import find_compiler
from allocsim.errors import InputError
from allocsim.ground_truth import ReplayNotPermitted, replay
from allocsim.trace import Op, Trace

MakeChurn = Callable[..., Trace]


@pytest.fixture(scope="session", autouse=True)
def _machine_can_replay() -> None:
    """A replayer that does not build or run is a failure; a machine that cannot is a skip."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("the replayer knows 64-bit x86 Linux only")
    try:
        find_compiler()
        replay(Trace.of(op=[Op.MALLOC], object=[0], size=[1]))
    except InputError as error:
        if "compiler" in str(error):
            pytest.skip(str(error))
        raise
    except ReplayNotPermitted as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def strace() -> str:
    path = shutil.which("strace")
    if path is None:
        pytest.skip("strace is not installed")
    return path


@pytest.fixture(scope="session")
def churn() -> MakeChurn:
    return make_churn


def make_churn(n_ops: int, n_slots: int = 200, n_threads: int = 1, seed: int = 1) -> Trace:
    """Random calls of all kinds on random slots, sizes up to some MiB, partly written."""
    rng = np.random.default_rng(seed)
    slot = rng.integers(n_slots, size=n_ops)
    size = np.minimum(rng.lognormal(6, 2.5, n_ops), 4 << 20).astype(np.int64)
    op = rng.choice(
        [Op.MALLOC, Op.CALLOC, Op.REALLOC, Op.ALIGNED_ALLOC], n_ops, p=[0.5, 0.2, 0.2, 0.1]
    )
    again = rng.choice([Op.FREE, Op.REALLOC, Op.TOUCH, Op.READ], n_ops, p=[0.6, 0.2, 0.1, 0.1])
    op = follow_slots(op, again, slot, size)
    allocates = op <= Op.ALIGNED_ALLOC
    return Trace.of(
        op=op,
        object=slot,
        size=size,
        thread=rng.integers(n_threads, size=n_ops),
        alignment=np.where(op == Op.ALIGNED_ALLOC, 1 << rng.integers(4, 14, n_ops), 0),
        written=np.where(allocates, (size * rng.random(n_ops)).astype(np.int64), 0),
    )


def follow_slots(
    first: np.ndarray, again: np.ndarray, slot: np.ndarray, size: np.ndarray
) -> np.ndarray:
    """Ops that make sense: `first` on an empty slot, else `again`; sizes are set to fit."""
    held = np.zeros(slot.max() + 1, np.int64)
    op = first.copy()
    for i, s in enumerate(slot):
        if held[s]:
            op[i] = again[i]
        if op[i] == Op.FREE:
            size[i] = 0
        elif op[i] in (Op.TOUCH, Op.READ):
            size[i] = held[s]
        if op[i] <= Op.FREE:
            held[s] = size[i]
    return op
