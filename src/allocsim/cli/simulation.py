"""Commands about the simulated machine."""

from pathlib import Path
from typing import Annotated

import typer

from allocsim.cli.machine_options import Bits, Costs, HugePages, MachineFile, Memory, machine_from
from allocsim.cli.options import (
    Cpus,
    Json,
    JsonFile,
    Seed,
    Tunables,
    Variables,
    Workload,
    settings_of,
)

Policies = Annotated[
    list[str] | None,
    typer.Option(
        help="A policy's name, or my_policy.py, with parameters as in glibc:mmap_threshold=64K; "
        "repeatable. [default: glibc]"
    ),
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


def simulate_command(
    workload: Workload,
    policy: Policies = None,
    setting: Parameters = None,
    tunables: Tunables = "",
    environment: Variables = None,
    cpus: Cpus = None,
    machine: MachineFile = None,
    memory: Memory = None,
    huge_pages: HugePages = None,
    bits: Bits = None,
    costs: Costs = None,
    ops: OpsFile = None,
    syscalls: SyscallsFile = None,
    start_maps: StartMaps = None,
    start_brk: StartBrk = None,
    interpreted: Interpreted = False,
    compiled: Compiled = False,
    no_writes: NoWrites = False,
    referee: Referee = False,
    seed: Seed = 0,
    json_output: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Run a workload through policies; show what each would cost.

    Examples: `allocsim simulate sqlite3 --policy glibc --policy my_policy.py`,
    `allocsim simulate run.parquet --policy glibc --policy glibc:mmap_threshold=64K`,
    `allocsim simulate run.parquet --environment MALLOC_ARENA_MAX=2 --cpus 16`

    A policy given by its path runs as code, with your rights.
    """
    from allocsim import simulate_command as simulating
    from allocsim.json_output import JsonOutput

    request = simulating.SimulateRequest(
        workload=workload,
        policies=tuple(policy or ("glibc",)),
        settings=settings_of(setting, tunables, environment, cpus),
        machine=machine_from(machine, costs, memory, huge_pages, bits),
        ops=ops,
        syscalls=syscalls,
        start_maps=start_maps,
        start_brk=start_brk,
        mode=simulating.mode_of(interpreted, compiled),
        writing=not no_writes,
        referee=referee,
        seed=seed,
    )
    simulating.simulate_command(request, JsonOutput(json_output, json_file))


def heapmap_command(
    workload: Workload,
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write (HTML).")],
    policy: Policies = None,
    setting: Parameters = None,
    tunables: Tunables = "",
    environment: Variables = None,
    cpus: Cpus = None,
    machine: MachineFile = None,
    memory: Memory = None,
    huge_pages: HugePages = None,
    bits: Bits = None,
    seed: Seed = 0,
) -> None:
    """Draw a run's heap, address against time, as one HTML page.

    Two policies are drawn side by side, in step.

    Examples: `allocsim heapmap sqlite3 -o map.html`,
    `allocsim heapmap churn --policy glibc --policy best_fit -o map.html`

    A policy given by its path runs as code, with your rights.
    """
    from allocsim.heapmap import command
    from allocsim.simulate_command import SimulateRequest

    request = SimulateRequest(
        workload=workload,
        policies=tuple(policy or ("glibc",)),
        settings=settings_of(setting, tunables, environment, cpus),
        machine=machine_from(machine, None, memory, huge_pages, bits),
        seed=seed,
    )
    command.heapmap_command(request, output)


def layout_command(
    bits: Annotated[int, typer.Option(help="Width of addresses: 32 or 64.")] = 64,
    legacy_layout: Annotated[
        bool, typer.Option("--legacy-layout", help="Mappings grow up from a third of user space.")
    ] = False,
    stack_limit: Annotated[
        str, typer.Option(metavar="SIZE", help="What `ulimit -s` allows the stack, e.g. 64M.")
    ] = "8M",
) -> None:
    """Draw the simulated address space at a program's start.

    The highest address is on top.

    Example: `allocsim layout --bits 32`
    """
    from allocsim.experiment.settings import parse_bytes
    from allocsim.kernel.draw import draw
    from allocsim.kernel.layout import Layout

    stack_bytes = parse_bytes(f"--stack-limit {stack_limit}", stack_limit, low=4096)
    print(draw(Layout.standard(bits, legacy_layout, stack_bytes)))
