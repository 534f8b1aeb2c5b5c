"""A replay on the real C library that stops after its last op, so that its heap can be read."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Unpack

from allocsim.ground_truth.opstream import packed
from allocsim.ground_truth.replay import ReplayError, Writes, replayer_command
from allocsim.ground_truth.start import Surroundings, Tunables, environment_of
from allocsim.trace import TraceSource

BLOCK_BYTES = 1 << 16
"""What is read at once: a walk over a heap wants word after word."""


class Unreadable(ReplayError):
    """There is no memory at an address, or the system forbids to look at it."""


@dataclass(frozen=True)
class Mapping:
    """One line of /proc/PID/maps: [low, high), such as "rw-p", the file's name or ""."""

    low: int
    high: int
    mode: str
    name: str


class HeldProcess:
    """A stopped program, process number `pid`, and its memory."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._blocks: dict[int, memoryview] = {}
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)

    def word(self, address: int) -> int:
        """The 8 bytes at a multiple of 8; Unreadable where there is nothing."""
        start = address & -BLOCK_BYTES
        block = self._blocks.get(start)
        if block is None:
            block = self._blocks[start] = self._read(start)
        try:
            return block[(address - start) >> 3]
        except IndexError:
            return self._single(address)

    def mappings(self) -> list[Mapping]:
        """The areas of its address space, lowest first."""
        lines = Path(f"/proc/{self.pid}/maps").read_text().splitlines()
        return [_mapping(line) for line in lines]

    def close(self) -> None:
        os.close(self._memory)

    def _read(self, start: int) -> memoryview:
        """A block's words, fewer where unmapped memory begins in it."""
        try:
            data = os.pread(self._memory, BLOCK_BYTES, start)
        except (OSError, OverflowError):  # it begins in unmapped memory
            data = b""
        return memoryview(data[: len(data) & -8]).cast("Q")

    def _single(self, address: int) -> int:
        try:
            data = os.pread(self._memory, 8, address)
        except (OSError, OverflowError) as error:
            raise Unreadable(f"no memory at {address:#x}") from error
        return int.from_bytes(data, "little")


def _mapping(line: str) -> Mapping:
    addresses, mode, _, _, _, *name = line.split(maxsplit=5)
    low, high = (int(text, 16) for text in addresses.split("-"))
    return Mapping(low, high, mode, name[0] if name else "")


@contextmanager
def held(
    source: TraceSource,
    tunables: Tunables = None,
    *,
    writes: Writes = "written",
    **surroundings: Unpack[Surroundings],
) -> Iterator[HeldProcess]:
    """Make the calls of `source` as `replay` does, stop, and end the program after the context.

    Raises ReplayError, InputError as `replay` does, Unreadable where its memory must not be read.
    """
    environment = environment_of(tunables, surroundings.get("environment"))
    with (
        packed(source, surroundings.get("marks")) as ops,
        TemporaryDirectory(prefix="allocsim-") as folder,
    ):
        command = replayer_command(ops, "ops-held", writes, surroundings, folder)
        messages = Path(folder) / "messages"
        with ops.path.open("rb") as stream, messages.open("wb") as errors:
            process = subprocess.Popen(command, env=environment, stdin=stream, stderr=errors)
        try:
            _wait_until_stopped(process, messages)
            yield from _opened(process.pid)
        finally:
            process.kill()
            process.wait()


def _wait_until_stopped(process: subprocess.Popen, messages: Path) -> None:
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status) or os.WSTOPSIG(status) != signal.SIGSTOP:
        process.returncode = os.waitstatus_to_exitcode(status)
        text = messages.read_text(errors="replace").strip()
        raise ReplayError(text or f"the replayer ended with status {process.returncode}")


def _opened(pid: int) -> Iterator[HeldProcess]:
    try:
        process = HeldProcess(pid)
    except OSError as error:
        raise Unreadable(f"the program's memory cannot be read: {error.strerror}") from error
    try:
        yield process
    finally:
        process.close()
