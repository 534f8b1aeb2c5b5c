"""Tells how a sweep gets on: a live bar on a terminal, a line per run elsewhere."""

from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from allocsim.errors import printable
from allocsim.experiment.sweep import Run
from allocsim.user_text import printable_lines, shortened

_LONGEST_TITLE = 160


class Reporter(Protocol):
    """Hears of the runs of a sweep as they end."""

    def begin(self, n_runs: int, n_kept: int) -> None:
        """`n_runs` are to be made; `n_kept` were there already."""

    def end_run(self, run: Run, words: str, failed: bool) -> None:
        """A run ended; `words` tell its result or why it failed."""

    def close(self) -> None:
        """Nothing more will come."""


def reporter_for(console: Console) -> Reporter:
    """Live on a terminal, plain lines otherwise."""
    return LiveReporter(console) if console.is_terminal else PlainReporter(console)


class PlainReporter:
    """One line per run, for logs and pipes."""

    def __init__(self, console: Console):
        self._console = console
        self._done = 0
        self._total = 0

    def begin(self, n_runs: int, n_kept: int) -> None:
        """Says how much there is to do."""
        self._total = n_runs
        self._print(f"{n_runs} runs to make, {n_kept} kept from before")

    def end_run(self, run: Run, words: str, failed: bool) -> None:
        """Prints the run and its result."""
        self._done += 1
        mark = "FAILED " if failed else ""
        width = len(str(self._total))
        self._print(f"{self._done:>{width}}/{self._total}  {mark}{_title(run)}: {words}")

    def close(self) -> None:
        """Nothing is left to do."""

    def _print(self, text: str) -> None:
        self._console.print(Text(printable_lines(text)), soft_wrap=True)


class LiveReporter:
    """A bar with the time that remains; failures are printed above it."""

    def __init__(self, console: Console):
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("runs"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=600,
        )
        self._task = self._progress.add_task("simulating", total=None)

    def begin(self, n_runs: int, n_kept: int) -> None:
        """Shows the bar."""
        if n_kept:
            self._console.print(f"{n_kept} runs kept from before")
        self._progress.update(self._task, total=n_runs)
        self._progress.start()

    def end_run(self, run: Run, words: str, failed: bool) -> None:
        """Moves the bar."""
        self._progress.advance(self._task)
        if failed:
            told = Text(printable_lines(f" {_title(run)}: {words}"))
            self._console.print(Text("failed", "red") + told, soft_wrap=True)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._progress.stop()


def _title(run: Run) -> str:
    """The run's title in one line of limited length."""
    return shortened(printable(run.title), _LONGEST_TITLE)
