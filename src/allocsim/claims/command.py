"""`allocsim claims`: judges claims, shows the table, writes JSON."""

from collections.abc import Iterable
from typing import Any

from allocsim.claims.judgement import FAILS, Judgement, judge
from allocsim.claims.spec import claim_names, claim_path, load_claim
from allocsim.claims.table import claims_table, console_for_output
from allocsim.json_output import JsonOutput
from allocsim.kernel import CostTable


def claims_command(
    names: Iterable[str], output: JsonOutput | None = None, no_code: bool = False
) -> int:
    """Judges the named claims, or all shipped ones; returns 1 when a prediction failed, else 0.

    no_code: claims with policies in files are refused.
    """
    output = output or JsonOutput()
    paths = [claim_path(name) for name in names or claim_names()]
    claims = {path.stem: load_claim(path, no_code=no_code) for path in paths}
    judgements = [judge(name, claim) for name, claim in claims.items()]
    if not output.replaces_text:
        console_for_output().print(claims_table(judgements))
    output.write("claims", as_plain(judgements))
    return int(any(judgement.verdict == FAILS for judgement in judgements))


def as_plain(judgements: Iterable[Judgement]) -> dict[str, Any]:
    """All that was found, by the claims' letters."""
    return {
        "costs": CostTable.load().provenance,
        "claims": {j.name.partition("_")[0]: j.as_dict() for j in judgements},
    }
