"""The model is equal to stored results of the real glibc, on any machine."""

import pytest
from golden import FOLDER, load

from allocsim.ground_truth.verify import compared, modelled


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.npz")), ids=lambda path: path.stem)
def test_golden(path):
    trace, tunables, truth, start = load(path)
    verdict = compared(trace, truth, modelled(trace, {**tunables, "cpus": truth.cpus}, start=start))
    assert verdict.equal, str(verdict)


def test_there_are_golden_files():
    assert len(list(FOLDER.glob("*.npz"))) >= 5
