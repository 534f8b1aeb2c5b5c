"""What the tests of the recorder share."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"

Build = Callable[..., Path]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compiles a program of tests/trace/programs; all users may run it."""
    folder = tmp_path_factory.mktemp("programs")

    def build(name: str, *flags: str) -> Path:
        source, target = PROGRAMS / f"{name}.c", folder / "-".join([name, *flags]).replace("/", "_")
        # The compiler must not remove calls that have no effect.
        options = ["-O0", "-w", "-fno-builtin", "-o", str(target), str(source), "-pthread", "-ldl"]
        if not target.exists():
            subprocess.run(["cc", *options, *flags], check=True)
        return target

    return build


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Where to record to, in a folder of its own."""
    folder = tmp_path / "traces"
    folder.mkdir()
    return folder / "t.parquet"
