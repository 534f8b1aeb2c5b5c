"""Arguments and options that several commands have, and what is made of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from allocsim.experiment.settings import Settings

TraceFile = Annotated[str, typer.Argument(help="A trace file (Parquet).")]
TraceOutput = Annotated[Path, typer.Option("-o", "--output", help="The trace file to write.")]
Workload = Annotated[
    str, typer.Argument(help="A trace (Parquet), a workload (TOML), or a shipped one's name.")
]
Tunables = Annotated[
    str, typer.Option(metavar="STRING", help="A GLIBC_TUNABLES string, as it stands.")
]
Variables = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE", help="A variable as glibc reads it: MALLOC_ARENA_MAX=2; repeatable."
    ),
]
Cpus = Annotated[
    int | None,
    typer.Option(
        min=1, max=4096, help="CPUs that the program may run on; they limit glibc's arenas."
    ),
]
Rounds = Annotated[int, typer.Option(min=1, max=100_000, help="How often everything is timed.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="For synthetic workloads.")]
Json = Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json-file", metavar="FILE", help="Write all numbers as JSON.")
]


def settings_of(
    pairs: Iterable[str] | None,
    tunables: str,
    variables: Iterable[str] | None,
    cpus: int | None,
) -> "Settings":
    """What --set, --tunables, --environment and --cpus say."""
    from allocsim.experiment.settings import Settings

    return Settings(tuple(pairs or ()), tunables, tuple(variables or ()), cpus)
