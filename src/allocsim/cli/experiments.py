"""Commands about experiments and claims."""

from pathlib import Path
from typing import Annotated

import typer

from allocsim.cli.options import Json, JsonFile
from allocsim.terminal import say

NoCode = Annotated[
    bool,
    typer.Option("--no-code", help="Refuse policies given by path: for files from others."),
]


def run(
    experiment: Annotated[
        str, typer.Argument(help="An experiment's file (TOML), or the name of a shipped one.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for results [results/NAME].")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, max=4096, help="Workers [one per CPU].")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compute again what is there.")] = False,
    no_code: NoCode = False,
    max_runs: Annotated[
        int, typer.Option(min=1, help="An experiment of more runs is refused.")
    ] = 1_000_000,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="Dask workers: local, a scheduler's address (tcp://…) or file (JSON).",
        ),
    ] = None,
    json_output: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Run an experiment: workloads x policies x parameters x seeds.

    What is finished is never computed again: after Ctrl-C or a crash the same command goes on.
    A policy that the experiment gives by its path runs as code, with your rights.

    Example: `allocsim run experiments/threshold.toml`
    """
    from allocsim.experiment.command import run_command
    from allocsim.json_output import JsonOutput

    code = run_command(
        experiment,
        output,
        jobs,
        force,
        max_runs=max_runs,
        no_code=no_code,
        cluster=cluster,
        output=JsonOutput(json_output, json_file),
    )
    raise typer.Exit(code)


def figures(
    folder: Annotated[Path, typer.Argument(help="A folder of results, such as results/threshold.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for figures [FOLDER/figures].")
    ] = None,
) -> None:
    """Draw the results of an experiment as PNG, SVG and PDF.

    Example: `allocsim figures results/threshold`
    """
    from allocsim.figures.command import draw_figures

    for path in draw_figures(folder, output):
        say(path)


def claims(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Claims by letter, name or file; all by default.", metavar="[CLAIM…]"),
    ] = None,
    no_code: NoCode = False,
    json_output: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Put what textbooks say about brk and mmap to the test.

    Each claim's predictions, in numbers written down beforehand, are compared with a simulation.
    The exit code is 1 when one fails. A policy that a file gives by its path runs as code.

    Example: `allocsim claims a g`
    """
    from allocsim.claims.command import claims_command
    from allocsim.json_output import JsonOutput

    output = JsonOutput(json_output, json_file)
    raise typer.Exit(claims_command(names or (), output, no_code))
