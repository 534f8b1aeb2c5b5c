"""The command line: argument parsing only. Every command calls one function of the package."""

import sys
from typing import Annotated

import typer

from allocsim import __version__
from allocsim.errors import AllocsimError, InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="What would this program cost, in memory and CPU, under another allocator policy?",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"allocsim {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: errors meant for the user become one message; wrong input exits with 2."""
    try:
        app()
    except AllocsimError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
