"""What tests of all parts share."""

import sys

import pytest

from allocsim.cli import main


@pytest.fixture
def allocsim_here(monkeypatch, capfd):
    """Runs a command in this process, which spares a start; gives exit code, output and errors."""

    def run(*arguments):
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["allocsim", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capfd.readouterr()
        return ended.value.code or 0, shown.out, shown.err

    return run
