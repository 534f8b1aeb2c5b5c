"""What a type checker says to users of the public API; checked by mypy, never run.

An ignored error that mypy does not find is an error itself.
"""

from pathlib import Path
from typing import assert_type

import allocsim as al

assert_type(al.simulate("sqlite3", "glibc", mmap_threshold="64 KiB"), al.Result)
assert_type(al.simulate(Path("t.parquet"), Path("my_policy.py"), seed=3), al.Result)
assert_type(al.simulate(al.open_trace("t.parquet"), al.BoundaryTagHeap), al.Result)
assert_type(al.simulate("sqlite3").samples, al.ColumnTable)
al.simulate(3)  # type: ignore[arg-type]
al.simulate("sqlite3", 3)  # type: ignore[arg-type]
al.simulate("sqlite3", samples="many")  # type: ignore[arg-type]

swept = al.sweep(
    ["sqlite3", {"use": "churn", "ops": 1000}, al.open_trace("t.parquet")],
    ["glibc", Path("my_policy.py"), al.BoundaryTagHeap, ("glibc", {"tcache_count": 0})],
    grid={"mmap_threshold": al.log_range("4 KiB", "32 MiB")},
    machine=al.Machine(cpus=2),
)
assert_type(swept, al.Sweep)
assert_type(swept.runs, al.ColumnTable)
assert_type(al.results("results/threshold"), al.Sweep)
assert_type(al.Experiment.load("threshold").run(jobs=2), al.Sweep)
swept.plot("tradeoff")[0].set_title("sqlite3")
al.sweep([3], ["glibc"])  # type: ignore[list-item]

exit_code: int = al.record(["sort", "numbers.txt"], "sort.parquet").exit_code
is_equal: bool = al.verify("sort.parquet", mmap_threshold="64 KiB").equal
al.nothing  # type: ignore[attr-defined]  # noqa: B018
