"""`allocsim claims`: judges claims, shows the table, writes JSON."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from allocsim import __version__
from allocsim.claims.judgement import FAILS, Judgement, judge
from allocsim.claims.spec import claim_names, claim_path, load_claim
from allocsim.claims.table import claims_table, console_for_output
from allocsim.errors import InputError
from allocsim.kernel import CostTable

FORMAT = 1
"""Version of the JSON file."""


def claims_command(names: Iterable[str], json_file: Path | None) -> int:
    """Judges the named claims, or all shipped ones; returns 1 when a prediction failed, else 0."""
    claims = {path.stem: load_claim(path) for path in map(claim_path, names or claim_names())}
    judgements = [judge(name, claim) for name, claim in claims.items()]
    if json_file is not None:
        write_json(judgements, json_file)
    console_for_output().print(claims_table(judgements))
    return int(any(judgement.verdict == FAILS for judgement in judgements))


def write_json(judgements: Iterable[Judgement], file: Path) -> None:
    """Writes all that was found, by the claims' letters; under a temporary name first."""
    told: dict[str, Any] = {
        "format": FORMAT,
        "allocsim": __version__,
        "costs": CostTable.load().provenance,
        "claims": {j.name.partition("_")[0]: j.as_dict() for j in judgements},
    }
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {error.strerror}") from error
