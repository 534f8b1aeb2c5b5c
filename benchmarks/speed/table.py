"""Results as a table in Markdown, put into docs/performance.md between two markers."""

from pathlib import Path

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"

_HEAD = (
    "trace", "policy", "written", "simulated ns/op", "real ns/op", "simulated / real", "at most",
    "first run / real", "interpreted ns/op",
)  # fmt: skip


def markdown(results: dict) -> str:
    """The results: where they were measured, a row for each case, then the single figures."""
    machine = results["machine"]
    lines = [
        f"{machine['cpu']}; {machine['kernel'].split(' #')[0]}; {machine['c_library']}; "
        f"{machine['date'][:10]}; {results['rounds']} rounds. Median (lowest to highest).",
        "",
        _row(_HEAD),
        _row(["---"] * len(_HEAD)),
        *(_row(_cells(row)) for row in results["rows"]),
        "",
        _row(("figure", "value")),
        _row(("---", "---")),
        *(_row((name, _shown(value))) for name, value in results["figures"].items()),
    ]
    return "\n".join(lines)


def write_into_document(results: dict, document: Path = DOCUMENT) -> None:
    """Replace what stands between the markers of the document."""
    before, _, rest = document.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{markdown(results)}\n{END}{after}")


def _cells(row: dict) -> list[str]:
    bar = row["ratio_at_most"]
    return [
        f"{row['trace']} ({row['ops']:,} ops)", row["policy"], row["written"],
        _shown(row["compiled_ns"]), _shown(row["real_ns"]), _shown(row["ratio"]),
        "" if bar is None else str(bar), _shown(row["first_ratio"]),
        _shown(row["interpreted_ns"]),
    ]  # fmt: skip


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return f"{_number(value['median'])} ({_number(value['low'])} to {_number(value['high'])})"
    return _number(value) if isinstance(value, float) else f"{value:,}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _row(cells) -> str:
    return f"| {' | '.join(cells)} |"
