"""Logs that nobody vouches for: a conversion gives traces, and names what is damaged; or it ends in
one message."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from allocsim.errors import InputError
from allocsim.trace import open_trace, recorder
from allocsim.trace.recorder_ending import Ending
from allocsim.trace.recorder_traces import convert

EVENTS_START, EVENT_BYTES, KIND_AT = 4096, 32, 14
SEEDS = range(40)


class Kept(Exception):
    """The logs are copied, and no traces are to be made."""


@pytest.fixture(scope="module")
def logs(built: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs of some processes and threads, with mappings and reallocations."""
    folder = tmp_path_factory.mktemp("kept")

    def keep(logs: Path, output: Path, ending: Ending, **_: object) -> None:
        ending.save(logs)
        shutil.copytree(logs, folder / "logs")
        raise Kept

    command = f"{built('every_call')}; {built('threads_at_once')} 4; {built('churn')} 5"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Kept):
        patch.setattr(recorder, "convert", keep)
        recorder.record(["sh", "-c", command], folder / "t.parquet")
    return folder / "logs"


def damage(data: bytearray, chance: random.Random, is_log: bool) -> bytearray:
    """Cut, overwrite, or change what an event is."""
    kind = chance.randrange(5 if is_log else 4)
    if kind == 0:
        return data[: chance.randrange(len(data))]
    if kind == 4:
        event = EVENTS_START + EVENT_BYTES * chance.randrange(128)
        data[event + KIND_AT] = chance.randrange(16)
        return data
    at = chance.randrange(min(len(data), 6000))
    extremes = [0, 1, 4096, 2**31, 2**63, 2**64 - 1]
    values = [
        bytes([chance.randrange(256)]),
        chance.randbytes(EVENT_BYTES),
        chance.choice(extremes).to_bytes(8, "little"),
    ]
    data[at : at + len(values[kind - 1])] = values[kind - 1]
    return data


def test_damaged_logs(logs: Path, tmp_path: Path) -> None:
    for seed in SEEDS:
        chance, folder = random.Random(seed), tmp_path / str(seed)
        shutil.copytree(logs, folder / "logs")
        files = sorted(path for path in (folder / "logs").iterdir() if path.suffix != ".so")
        for path in chance.choices(files, k=chance.choice([1, 1, 3, 10])):
            if data := bytearray(path.read_bytes()):
                path.write_bytes(damage(data, chance, path.suffix == ".log"))
        try:
            recording = convert(folder / "logs", folder / "t.parquet")
        except InputError as error:
            assert "\n" not in str(error), seed
        else:
            assert recording.summary()
            assert bool(recording.kept) == any("damaged" in reason for reason in recording.lost)
            for trace in recording.traces:
                open_trace(trace.path).verify()
        shutil.rmtree(folder)
