"""`allocsim claims`: judges claims, shows the table, writes JSON."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from allocsim import __version__
from allocsim.claims.judgement import FAILS, Judgement, judge
from allocsim.claims.spec import claim_names, claim_path, load_claim
from allocsim.claims.table import claims_table, console_for_output
from allocsim.kernel import CostTable
from allocsim.outputs import AtomicFile

FORMAT = 1
"""Version of the JSON file."""


def claims_command(names: Iterable[str], json_file: Path | None, no_code: bool = False) -> int:
    """Judges the named claims, or all shipped ones; returns 1 when a prediction failed, else 0.

    no_code: claims with policies in files are refused.
    """
    file = AtomicFile(json_file) if json_file is not None else None
    paths = [claim_path(name) for name in names or claim_names()]
    claims = {path.stem: load_claim(path, no_code=no_code) for path in paths}
    judgements = [judge(name, claim) for name, claim in claims.items()]
    console_for_output().print(claims_table(judgements))
    if file is not None:
        file.write_text(as_json(judgements))
    return int(any(judgement.verdict == FAILS for judgement in judgements))


def as_json(judgements: Iterable[Judgement]) -> str:
    """All that was found, by the claims' letters."""
    told: dict[str, Any] = {
        "format": FORMAT,
        "allocsim": __version__,
        "costs": CostTable.load().provenance,
        "claims": {j.name.partition("_")[0]: j.as_dict() for j in judgements},
    }
    return json.dumps(told, indent=1, allow_nan=False) + "\n"
