"""The command that lists what there is."""

from typing import Annotated

import typer

from allocsim.cli.options import Json, JsonFile


def list_command(
    kind: Annotated[
        str,
        typer.Argument(
            help="policies, parameters, workloads, experiments or claims; all by default.",
            show_default=False,
        ),
    ] = "",
    json_output: Json = False,
    json_file: JsonFile = None,
) -> None:
    """List policies, parameters, workloads, experiments and claims.

    Parameters come with their defaults, ranges and units.

    Example: `allocsim list parameters`
    """
    from allocsim.json_output import JsonOutput
    from allocsim.listing import list_command

    raise typer.Exit(list_command(kind, JsonOutput(json_output, json_file)))
