"""Commands about the simulated machine."""

from pathlib import Path
from typing import Annotated

import typer

from allocsim.cli.options import (
    Costs,
    Cpus,
    Json,
    Seed,
    Tunables,
    Variables,
    Workload,
    settings_of,
)

Policies = Annotated[
    list[str] | None,
    typer.Option(help="A policy's name, or my_policy.py; repeatable. [default: glibc]"),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="A parameter, name=value, of the policies that have it; repeatable."
    ),
]
OpsFile = Annotated[
    Path | None, typer.Option(help="Write each op's address and minor faults (Parquet).")
]
SyscallsFile = Annotated[
    Path | None, typer.Option(help="Write each system call with its op (Parquet).")
]
StartMaps = Annotated[
    Path | None, typer.Option(help="Start with the areas of this /proc/PID/maps.")
]
StartBrk = Annotated[str | None, typer.Option(help="Where the heap starts, with --start-maps.")]
Interpreted = Annotated[bool, typer.Option("--interpreted", help="Never compile.")]
Compiled = Annotated[bool, typer.Option("--compiled", help="Compile, or fail.")]
NoWrites = Annotated[bool, typer.Option("--no-writes", help="The program writes nothing.")]
Referee = Annotated[bool, typer.Option("--referee", help="Check every block (interpreted, slow).")]
Memory = Annotated[
    str | None, typer.Option(help="Physical memory, e.g. 64M; pages beyond it are swapped.")
]
HugePages = Annotated[str, typer.Option(help="Transparent huge pages: never, madvise or always.")]


def simulate_command(
    workload: Workload,
    policy: Policies = None,
    setting: Parameters = None,
    tunables: Tunables = "",
    environment: Variables = None,
    cpus: Cpus = None,
    ops: OpsFile = None,
    syscalls: SyscallsFile = None,
    start_maps: StartMaps = None,
    start_brk: StartBrk = None,
    costs: Costs = None,
    interpreted: Interpreted = False,
    compiled: Compiled = False,
    no_writes: NoWrites = False,
    referee: Referee = False,
    memory: Memory = None,
    huge_pages: HugePages = "never",
    seed: Seed = 0,
    json_output: Json = False,
) -> None:
    """Run a workload through policies and show what it would cost under each.

    Examples: `allocsim simulate sqlite3 --policy glibc --policy my_policy.py`,
    `allocsim simulate run.parquet --set mmap_threshold=64K`,
    `allocsim simulate run.parquet --environment MALLOC_ARENA_MAX=2 --cpus 16`

    A policy given by its path runs as code, with your rights.
    """
    from allocsim.experiment import single

    single.command(
        single.Request(
            workload=workload,
            policies=tuple(policy or ("glibc",)),
            settings=settings_of(setting, tunables, environment, cpus),
            ops=ops,
            syscalls=syscalls,
            start_maps=start_maps,
            start_brk=start_brk,
            costs=costs,
            mode=single.mode_of(interpreted, compiled),
            writing=not no_writes,
            referee=referee,
            seed=seed,
            memory=memory,
            huge_pages=huge_pages,
        ),
        as_json=json_output,
    )


def layout_command(
    bits: Annotated[int, typer.Option(help="Width of addresses: 32 or 64.")] = 64,
    legacy_layout: Annotated[
        bool, typer.Option("--legacy-layout", help="Mappings grow up from a third of user space.")
    ] = False,
    stack_limit: Annotated[
        str, typer.Option(metavar="SIZE", help="What `ulimit -s` allows the stack, e.g. 64M.")
    ] = "8M",
) -> None:
    """Draw the simulated address space at a program's start, the highest address on top.

    Example: `allocsim layout --bits 32`
    """
    from allocsim.experiment.settings import parse_bytes
    from allocsim.kernel.draw import draw
    from allocsim.kernel.layout import Layout

    stack_bytes = parse_bytes(f"--stack-limit {stack_limit}", stack_limit, low=4096)
    print(draw(Layout.standard(bits, legacy_layout, stack_bytes)))
