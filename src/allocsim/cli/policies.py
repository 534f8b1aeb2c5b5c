"""Commands about policies themselves."""

from typing import Annotated

import typer


def check_command(
    policy: Annotated[str, typer.Argument(help="A policy's name, or my_policy.py.")],
    compiles: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compare with the compiled policy too.")
    ] = True,
) -> None:
    """Put a policy through the conformance suite: named checks that every policy must pass.

    Exits with 1 if one fails. A policy given by its path runs as code, with your rights.

    Example: `allocsim check first_fit`
    """
    from allocsim.check import command

    raise typer.Exit(command.command(policy, compiles))


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
) -> None:
    """Compile policies ahead of time: later runs start compiled, however short they are.

    Exits with 1 if one cannot be compiled. A policy given by its path runs as code.

    Example: `allocsim warm glibc mmap_only`
    """
    from allocsim.warm import warm_command

    raise typer.Exit(warm_command(policies or (), threads))
