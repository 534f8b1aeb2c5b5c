"""Runs that kill their worker: whoever is not to blame is made all the same."""

from concurrent.futures import BrokenExecutor, Future
from types import SimpleNamespace

import pytest

from allocsim.experiment import runner
from allocsim.experiment.perform import Failure
from allocsim.experiment.store import RunStore


class Crew:
    """Two workers, of which a run called k… takes both down; any other says that it is fine."""

    def __init__(self, kind, jobs):
        self.calls = {}

    @property
    def has_room(self):
        return len(self.calls) < 2

    @property
    def busy(self):
        return bool(self.calls)

    def submit(self, token, function, run):
        assert self.has_room
        self.calls[run.key] = token

    def collect(self):
        future, key = Future(), next(iter(self.calls))
        if any(each.startswith("k") for each in self.calls):
            future.set_exception(BrokenExecutor())
        else:
            future.set_result(Failure("fine"))
        return [(self.calls.pop(key), future)]

    def replace(self):
        lost = list(self.calls.values())
        self.calls.clear()
        return lost

    def close(self):
        assert not self.calls


@pytest.mark.parametrize("keys", ["a k1 b", "k1 a b c", "a b k1 k2 c", "k1 k2 a", "a k1 k2 b"])
def test_no_run_is_lost_or_blamed_for_another_ones_death(keys, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "Crew", Crew)
    monkeypatch.setattr(runner, "codes_needed", lambda runs: [])
    nothing = SimpleNamespace(
        begin=lambda *a: None, end_run=lambda *a, **k: None, close=lambda: None
    )
    runs = [SimpleNamespace(key=key) for key in keys.split()]
    outcome = runner.make_runs(
        runs, RunStore(tmp_path / "out"), nothing, kind="processes", jobs=2, force=True
    )
    assert {key: f.message == "fine" for key, f in outcome.failed.items()} == {
        key: not key.startswith("k") for key in keys.split()
    }
