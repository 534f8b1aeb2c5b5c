"""`allocsim check`: the conformance suite's results as a table, and what shows a failure again."""

from pathlib import Path
from shlex import quote

from allocsim.check.conformance import check_policy
from allocsim.check.results import CheckResult, Outcome
from allocsim.check.rules import RULES
from allocsim.check.shrink import few_ops
from allocsim.errors import OutputError
from allocsim.json_output import JsonOutput
from allocsim.machine import Machine
from allocsim.policy import Policy, load_policy, shown_name
from allocsim.runspec import short_policy_name
from allocsim.terminal import say
from allocsim.trace import Op, Trace, write_trace
from allocsim.trace.text import export_csv

FOLDER = Path("check")
MAX_SHOWN = 8


def command(
    policy: str,
    compiles: bool = True,
    output: JsonOutput | None = None,
    machine: Machine | None = None,
) -> int:
    """Check the policy of that name or file and print a table; 1 if a check failed, else 0.

    A short trace that shows the first rule of the referee which is broken goes to FOLDER.
    """
    loaded = load_policy(policy)
    results = check_policy(loaded, compiles=compiles, machine=machine)
    shown = few_ops(loaded) if any(map(_is_foul, results)) else None
    n_failed = sum(result.outcome is Outcome.FAILED for result in results)
    lines = []
    for result, line in zip(results, lines_of(results), strict=True):
        lines.append(line)
        if shown and result.name == shown[0]:
            lines += [f"  {more}" for more in _stored(policy, loaded, *shown)]
    output = output or JsonOutput()
    output.write(
        "check", {"policy": short_policy_name(policy), "checks": list(map(_plain, results))}
    )
    if not output.replaces_text:
        say("\n".join([*lines, f"{len(results)} checks, {n_failed} failed"]))
    return int(n_failed > 0)


def _plain(result: CheckResult) -> dict[str, str]:
    return {"name": result.name, "outcome": str(result.outcome), "detail": result.detail}


def _is_foul(result: CheckResult) -> bool:
    return result.outcome is Outcome.FAILED and result.name in RULES


def lines_of(results: list[CheckResult]) -> list[str]:
    """One line a check: name, outcome, detail."""
    wide = max(len(result.name) for result in results)
    return [f"{r.name:{wide}}  {r.outcome:8}  {r.detail}".rstrip() for r in results]


def _stored(name: str, policy: type[Policy], rule: str, trace: Trace) -> list[str]:
    """Writes a trace that breaks the rule, for people and for simulate; lines that say so."""
    stem = FOLDER / f"{shown_name(policy)}-{rule.replace(' ', '-')}"
    path, csv = stem.with_suffix(".parquet"), stem.with_suffix(".csv")
    try:
        FOLDER.mkdir(exist_ok=True)
        write_trace(path, trace)
        export_csv(str(path), str(csv))
    except (OSError, OutputError) as error:
        return [f"{len(trace)} ops show it, but they cannot be written: {error}"]
    return [
        f"{len(trace)} ops show it: {csv}  {_words(trace)}",
        f"again: allocsim simulate {quote(str(path))} --policy {quote(name)} --referee",
    ]


def _words(trace: Trace) -> str:
    """The first ops in words."""
    words = [
        Op(int(op)).name.lower() + (f" of {slot}" if op == Op.FREE else f" {size:,}")
        for op, slot, size in zip(trace.op, trace.object, trace.size, strict=True)
    ]
    more = ", …" if len(words) > MAX_SHOWN else ""
    return ", ".join(words[:MAX_SHOWN]) + more
