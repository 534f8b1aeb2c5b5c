"""Tells how a sweep gets on: a live bar on a terminal, a line per run elsewhere."""

import time
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
_MANY_RUNS = 500


class Reporter(Protocol):
    """Hears of the runs of a sweep as they end."""

    def begin(self, n_runs: int, n_kept: int) -> None:
        """`n_runs` are to be made; `n_kept` were there already."""

    def note_compiling(self, codes: list[str]) -> None:
        """That code is being compiled while the first runs make a start interpreted."""

    def end_run(self, run: Run, words: str, failed: bool) -> None:
        """A run ended; `words` tell its result or why it failed."""

    def close(self) -> None:
        """Nothing more will come."""


def reporter_for(console: Console) -> Reporter:
    """Live on a terminal, plain lines otherwise."""
    return LiveReporter(console) if console.is_terminal else PlainReporter(console)


class SilentReporter:
    """Says nothing."""

    def begin(self, n_runs: int, n_kept: int) -> None:
        """Nothing to say."""

    def note_compiling(self, codes: list[str]) -> None:
        """Nothing to say."""

    def end_run(self, run: Run, words: str, failed: bool) -> None:
        """Nothing to say."""

    def close(self) -> None:
        """Nothing to say."""


class PlainReporter:
    """One line per run, for logs and pipes; of more than _MANY_RUNS, one a second."""

    def __init__(self, console: Console):
        self._console = console
        self._done = 0
        self._total = 0
        self._quiet_until = 0.0

    def begin(self, n_runs: int, n_kept: int) -> None:
        """Says how much there is to do."""
        self._total = n_runs
        self._print(f"{n_runs} runs to make, {n_kept} kept from before")

    def note_compiling(self, codes: list[str]) -> None:
        """Names the code."""
        self._print(compiling_line(codes))

    def end_run(self, run: Run, words: str, failed: bool) -> None:
        """Prints the run and its result; of very many runs one now and then, and failures."""
        self._done += 1
        now = time.monotonic()
        is_last = self._done == self._total
        if self._total > _MANY_RUNS and not failed and not is_last and now < self._quiet_until:
            return
        self._quiet_until = now + 1
        mark = "FAILED " if failed else ""
        width = len(str(self._total))
        self._print(f"{self._done:>{width}}/{self._total}  {mark}{title_of(run)}: {words}")

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

    def note_compiling(self, codes: list[str]) -> None:
        """Names the code above the bar."""
        self._console.print(compiling_line(codes))

    def end_run(self, run: Run, words: str, failed: bool) -> None:
        """Moves the bar."""
        self._progress.advance(self._task)
        if failed:
            told = Text(printable_lines(f" {title_of(run)}: {words}"))
            self._console.print(Text("failed", "red") + told, soft_wrap=True)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._progress.stop()


def compiling_line(codes: list[str]) -> str:
    """What users read while code is compiled for the first time."""
    return f"compiling {', '.join(codes)}, once, about 20 s each; runs start interpreted"


def title_of(run: Run) -> str:
    """The run's title in one line of limited length."""
    return shortened(printable(run.title), _LONGEST_TITLE)
