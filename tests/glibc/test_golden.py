"""The model is equal to stored results of the real glibc, on any machine."""

import pytest
from golden import FOLDER, load

from allocsim.glibc.versions import VERSIONS
from allocsim.ground_truth.modelled import modelled
from allocsim.ground_truth.verdict import compared


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.npz")), ids=lambda path: path.stem)
def test_golden(path):
    trace, tunables, truth, start = load(path)
    parameters = {**tunables, "cpus": truth.cpus, "version": float(truth.libc)}
    verdict = compared(trace, truth, modelled(trace, parameters, start=start))
    assert verdict.equal, str(verdict)


@pytest.mark.parametrize("version", VERSIONS)
def test_there_are_golden_files_of_each_version(version):
    assert len(list(FOLDER.glob(f"{version}_*.npz"))) >= 5
