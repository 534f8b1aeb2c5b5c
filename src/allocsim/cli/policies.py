"""Commands about policies themselves."""

from typing import Annotated

import typer

from allocsim.cli.machine_options import Bits, Costs, HugePages, MachineFile, Memory, given_machine
from allocsim.cli.options import Json, JsonFile


def check_command(
    policy: Annotated[str, typer.Argument(help="A policy's name, or my_policy.py.")],
    compiles: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compare with the compiled policy too.")
    ] = True,
    machine: MachineFile = None,
    memory: Memory = None,
    huge_pages: HugePages = None,
    bits: Bits = None,
    costs: Costs = None,
    json_output: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Check, in simulation, that a policy obeys the rules of malloc.

    These are named checks, which every policy must pass. Exits with 1 if one fails. A policy given
    by its path runs as code, with your rights.

    Example: `allocsim check first_fit`
    """
    from allocsim.check import command
    from allocsim.json_output import JsonOutput

    output = JsonOutput(json_output, json_file)
    chosen = given_machine(machine, costs, memory, huge_pages, bits)
    raise typer.Exit(command.command(policy, compiles, output, chosen))


def warm_command(
    policies: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names, or my_policy.py; all named ones by default.", metavar="[POLICY…]"
        ),
    ] = None,
    threads: Annotated[
        bool,
        typer.Option("--threads", help="Also for workloads of several threads; twice the time."),
    ] = False,
    machine: MachineFile = None,
    memory: Memory = None,
    huge_pages: HugePages = None,
    bits: Bits = None,
    costs: Costs = None,
    json_output: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Compile policies now, so that later runs start compiled.

    Without policies and options: what the shipped experiments need. Exits with 1 if something
    cannot be compiled. A policy given by its path runs as code.

    Examples: `allocsim warm glibc`, `allocsim warm glibc --huge-pages always`
    """
    from allocsim.json_output import JsonOutput
    from allocsim.warm import warm_command

    chosen = given_machine(machine, costs, memory, huge_pages, bits)
    output = JsonOutput(json_output, json_file)
    raise typer.Exit(warm_command(policies or (), threads, chosen, output))
