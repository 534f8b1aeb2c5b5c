"""What textbooks say about brk and mmap, as experiments with predictions made beforehand.

A claim is a TOML file: workloads as ops, runs of them under policies, and predictions in numbers.
`judge` simulates the runs and compares; docs/claims.md describes the files and the verdicts.
"""

from allocsim.claims.judgement import Checked, Judgement, judge
from allocsim.claims.spec import Claim, Prediction, claim_names, load_claim

__all__ = [
    "Checked",
    "Claim",
    "Judgement",
    "Prediction",
    "claim_names",
    "judge",
    "load_claim",
]
