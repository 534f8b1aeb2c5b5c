"""The claims' table for people."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from allocsim.claims.judgement import FAILS, Checked, Judgement
from allocsim.claims.spec import Prediction
from allocsim.errors import printable
from allocsim.terminal import output_console
from allocsim.user_text import printable_lines

_PLAIN_WIDTH = 150
_STYLES = {FAILS: "bold red"}


def console_for_output() -> Console:
    """Standard output, wide enough for the table where it is no terminal."""
    return output_console(_PLAIN_WIDTH)


def claims_table(judgements: Iterable[Judgement]) -> Table:
    """A row for each claim with its verdict, below it one for each prediction."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("claim", ratio=1)
    for name in ("predicted", "simulated"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for judgement in judgements:
        letter = judgement.name.partition("_")[0]
        verdict = Text(judgement.verdict, _STYLES.get(judgement.verdict, "bold green"))
        table.add_row(
            Text(printable(f"({letter}) {judgement.claim.title}"), "bold"), "", "", verdict
        )
        for checked in judgement.checked:
            table.add_row(*_row(checked))
        for remark in _remarks(judgement):
            table.add_row(
                Padding(Text(printable_lines(remark), "italic"), (0, 0, 0, 2)), "", "", ""
            )
        table.add_row()
    return table


def _row(checked: Checked) -> list[Any]:
    prediction = checked.prediction
    says = Padding(Text(printable(prediction.says)), (0, 0, 0, 2))
    mark = Text("✓", "green") if checked.holds else Text("✗ prediction failed", "bold red")
    if checked.value is None:
        return [says, show_bound(prediction), "-", Text("not checked")]
    return [says, show_bound(prediction), show_number(checked.value), mark]


def _remarks(judgement: Judgement) -> list[str]:
    """Where the claim ends, and why some of it was not checked."""
    limit = [f"Limit: {judgement.claim.limit}"] if judgement.claim.limit else []
    reasons = dict.fromkeys(each.unavailable for each in judgement.checked if each.unavailable)
    return limit + [f"Not checked: {reason}" for reason in reasons]


def show_bound(prediction: Prediction) -> str:
    """What was predicted: `2,000`, `≥ 100` or `≤ 0.1`."""
    if prediction.equals is not None:
        return show_number(prediction.equals)
    if prediction.at_least is not None:
        return f"≥ {show_number(prediction.at_least)}"
    return f"≤ {show_number(prediction.at_most or 0)}"


def show_number(value: float) -> str:
    """Whole numbers in full, others with three significant digits."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.3g}"
