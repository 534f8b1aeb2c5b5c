"""A bar in a notebook's output. It needs IPython, which every notebook has, and no widgets."""

import html
import time
from datetime import timedelta
from typing import Any

from allocsim.experiment.progress import compiling_line, title_of
from allocsim.experiment.sweep import Run
from allocsim.user_text import printable_lines

_SHOW_EVERY_S = 0.2
_MOST_NOTES = 20


class NotebookReporter:
    """Shows how many runs ended and the time that remains, and failures below."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._shown = 0.0
        self._output: Any = None
        self._notes: list[str] = []
        self._total = self._kept = self._done = self._failed = 0

    def begin(self, n_runs: int, n_kept: int) -> None:
        """Shows the bar."""
        self._total, self._kept = n_runs, n_kept
        self._show()

    def note_compiling(self, codes: list[str]) -> None:
        """Names the code below the bar."""
        self._notes.append(compiling_line(codes))
        self._show()

    def end_run(self, run: Run, words: str, failed: bool) -> None:
        """Moves the bar."""
        self._done += 1
        if failed:
            self._failed += 1
            self._notes.append(f"failed {title_of(run)}: {words}")
        if time.monotonic() - self._shown > _SHOW_EVERY_S:
            self._show()

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._show()

    def _show(self) -> None:
        from IPython.display import HTML, display

        self._shown = time.monotonic()
        if self._output is None:
            self._output = display(HTML(self._html()), display_id=True)
        else:
            self._output.update(HTML(self._html()))

    def _html(self) -> str:
        bar = f'<progress value="{self._done}" max="{max(self._total, 1)}"></progress>'
        notes = [html.escape(printable_lines(note)) for note in self._notes[:_MOST_NOTES]]
        if (rest := len(self._notes) - _MOST_NOTES) > 0:
            notes.append(f"and {rest:,} more")
        return "<br>".join([f"{bar} {self._words()}", *notes])

    def _words(self) -> str:
        words = [f"{self._done:,} of {self._total:,} runs"]
        words += [f"{self._kept:,} kept from before"] if self._kept else []
        words += [f"{self._failed:,} failed"] if self._failed else []
        elapsed = time.monotonic() - self._started
        words.append(_clock(elapsed))
        if 0 < self._done < self._total:
            words.append(f"{_clock(elapsed / self._done * (self._total - self._done))} left")
        return ", ".join(words)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
