"""Options that describe the simulated machine, the same for every command that simulates."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from allocsim.machine import Machine

MachineFile = Annotated[
    list[str] | None,
    typer.Option(
        "--machine",
        metavar="FILE|NAME=VALUE",
        help="The machine: a TOML file, or one key of an experiment's [kernel] table, such as "
        "limit_as_bytes=4G or vma_locks=false; repeatable.",
    ),
]
Costs = Annotated[
    Path | None, typer.Option(help="A table of unit costs (TOML).", show_default="shipped")
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory", help="Physical memory, such as 64M; pages beyond it are swapped (memory_bytes)."
    ),
]
HugePages = Annotated[
    str | None,
    typer.Option(help="Transparent huge pages: never, madvise or always.", show_default="never"),
]
Bits = Annotated[
    str | None, typer.Option(help="Address space of 64 or 32 bits.", show_default="64")
]


def machine_from(
    entries: list[str] | None,
    costs: Path | None = None,
    memory: str | None = None,
    huge_pages: str | None = None,
    bits: str | None = None,
) -> "Machine":
    """The machine that the options describe; later ones win, a file comes first."""
    from allocsim.experiment.settings import parse_bytes
    from allocsim.machine_text import machine_from_text

    if memory is not None:
        memory = str(parse_bytes(f"--memory {memory}", memory, low=8192))
    single = {"memory_bytes": memory, "huge_pages": huge_pages, "bits": bits}
    given = [f"{name}={value}" for name, value in single.items() if value is not None]
    return machine_from_text([*(entries or ()), *given], costs)


def given_machine(
    entries: list[str] | None,
    costs: Path | None = None,
    memory: str | None = None,
    huge_pages: str | None = None,
    bits: str | None = None,
) -> "Machine | None":
    """The same; None where no option says anything of the machine."""
    if entries or costs or memory or huge_pages or bits:
        return machine_from(entries, costs, memory, huge_pages, bits)
    return None
