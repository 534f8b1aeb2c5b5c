"""Commands that time real allocators, beside the simulation."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from allocsim.cli.machine_options import (
    Bits,
    Costs,
    HugePages,
    MachineFile,
    Memory,
    given_machine,
)
from allocsim.cli.options import (
    Cpus,
    Json,
    JsonFile,
    Rounds,
    Seed,
    Tunables,
    Variables,
    Workload,
    settings_of,
)
from allocsim.outputs import check_folder
from allocsim.terminal import say

Allocators = Annotated[
    list[str] | None,
    typer.Option(
        help="glibc, glibc-2.41, jemalloc, tcmalloc, mimalloc, tbbmalloc, musl, or a library's "
        "path; repeatable. [default: glibc]"
    ),
]
SimulatedToo = Annotated[
    list[str] | None, typer.Option(help="Also simulate this policy; repeatable.")
]
GlibcParameters = Annotated[
    list[str] | None, typer.Option("--set", help="A glibc parameter, name=value; repeatable.")
]
MeasurementFolder = Annotated[
    Path | None, typer.Option("-o", "--output", help="Draw time and memory into this folder.")
]
Workloads = Annotated[
    list[str],
    typer.Argument(help="Traces, workloads, or shipped ones' names.", metavar="TRACE…"),
]
Allocator = Annotated[str, typer.Option(help="The real one, as for measure.")]
Model = Annotated[
    str, typer.Option(help="What is simulated.", show_default="the allocator's model")
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--set", help="A parameter, name=value; repeatable. Defaults run beside."),
]
Against = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE,…", help="One more setting to run; repeatable."),
]
CostsOrMeasured = Annotated[
    Path | None,
    typer.Option(help="Cost table.", show_default="measured between the rounds"),
]
ValidationFolder = Annotated[
    Path | None, typer.Option("-o", "--output", help="Draw predicted against measured here.")
]


def measure_command(
    workload: Workload,
    allocator: Allocators = None,
    policy: SimulatedToo = None,
    setting: GlibcParameters = None,
    tunables: Tunables = "",
    environment: Variables = None,
    cpus: Cpus = None,
    costs: Costs = None,
    machine: MachineFile = None,
    memory: Memory = None,
    huge_pages: HugePages = None,
    bits: Bits = None,
    rounds: Rounds = 15,
    output: MeasurementFolder = None,
    seed: Seed = 0,
    json_output: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Measure real allocators: CPU time, calls, page faults, memory.

    They run the workload for real; policies can be simulated beside them. The rounds of all
    allocators are interleaved. The first use builds a small program with the system's C compiler.

    Example: `allocsim measure sqlite3 --allocator glibc --allocator jemalloc`
    """
    from allocsim.ground_truth.measurement import command
    from allocsim.json_output import JsonOutput

    request = command.MeasureRequest(
        workload=workload,
        allocators=tuple(allocator or ("glibc",)),
        policies=tuple(policy or ()),
        settings=settings_of(setting, tunables, environment, cpus),
        costs=costs,
        rounds=rounds,
        seed=seed,
        machine=given_machine(machine, None, memory, huge_pages, bits),
    )
    if output is not None:
        check_folder(output)
    columns = command.measure_command(request, JsonOutput(json_output, json_file))
    if output is not None:
        from allocsim.figures.measurement import draw_measurement_files

        _tell(draw_measurement_files(workload, columns, output))


def validate_command(
    workloads: Workloads,
    allocator: Allocator = "glibc",
    policy: Model = "",
    setting: Parameters = None,
    against: Against = None,
    tunables: Tunables = "",
    environment: Variables = None,
    cpus: Cpus = None,
    costs: CostsOrMeasured = None,
    machine: MachineFile = None,
    memory: Memory = None,
    huge_pages: HugePages = None,
    bits: Bits = None,
    rounds: Rounds = 15,
    output: ValidationFolder = None,
    seed: Seed = 0,
    json_output: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Compare simulated CPU time and memory with measured ones.

    Calls and page faults are compared, too. Every trace runs with the defaults and with each
    setting, rounds interleaved; unit costs are measured in between. Errors stand
    beside the noise of the measurements.

    Example: `allocsim validate sqlite3 perl --set mmap_threshold=64K -o out`
    """
    from allocsim.ground_truth.validation import command
    from allocsim.json_output import JsonOutput

    request = command.ValidateRequest(
        workloads=tuple(workloads),
        allocator=allocator,
        policy=policy,
        settings=settings_of(setting, tunables, environment, cpus),
        against=tuple(against or ()),
        costs=costs,
        rounds=rounds,
        seed=seed,
        machine=given_machine(machine, None, memory, huge_pages, bits),
    )
    if output is not None:
        check_folder(output)
    found = command.validate_command(request, JsonOutput(json_output, json_file))
    if output is not None:
        from allocsim.figures.validation import draw_validation_files

        _tell([*draw_validation_files(found, output), *command.write_costs(found, output)])


def _tell(files: Iterable[Path]) -> None:
    for path in files:
        say(path, sys.stderr)
