"""The command line: argument parsing only. Every command calls one function of the package."""

import os
import sys
import warnings
from typing import Annotated

import typer

from allocsim import __version__
from allocsim.cli.comparison import measure_command, validate_command
from allocsim.cli.experiments import claims, figures, run
from allocsim.cli.interrupts import EXIT_CODE, end_on_interrupt, leave_if_busy
from allocsim.cli.listing import list_command
from allocsim.cli.policies import check_command, warm_command
from allocsim.cli.reality import calibrate, fetch_glibc_command, verify_command
from allocsim.cli.simulation import heapmap_command, layout_command, simulate_command
from allocsim.cli.traces import (
    record_program,
    trace_convert,
    trace_export,
    trace_head,
    trace_import,
    trace_info,
)
from allocsim.errors import AllocsimError, InputError
from allocsim.terminal import prepare_streams, say

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="What would this program cost, in memory and CPU, under another allocator policy?",
)
trace_app = typer.Typer(no_args_is_help=True, help="Look at recorded traces; import and export.")
_PASSED_ON = {"allow_interspersed_args": False, "ignore_unknown_options": True}
"""Options behind a program's name are the program's."""


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"allocsim {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


# In the order of the help.
app.command("simulate")(simulate_command)
app.command("list")(list_command)
app.command("record", context_settings=_PASSED_ON)(record_program)
app.command("calibrate")(calibrate)
app.command("run")(run)
app.command("figures")(figures)
app.command("claims")(claims)
app.command("heapmap")(heapmap_command)
app.command("layout")(layout_command)
app.command("check")(check_command)
app.command("warm")(warm_command)
app.command("fetch-glibc")(fetch_glibc_command)
app.command("verify")(verify_command)
app.command("measure")(measure_command)
app.command("validate")(validate_command)
app.add_typer(trace_app, name="trace")
trace_app.command("info")(trace_info)
trace_app.command("head")(trace_head)
trace_app.command("import")(trace_import)
trace_app.command("export")(trace_export)
trace_app.command("convert")(trace_convert)


def _interruption(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C that led to this exit, if one did; typer makes a plain exit with 130 of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


def _place(error: OSError) -> str:
    """What the error is about: files that users name are told of elsewhere, as InputErrors."""
    from tempfile import gettempdir

    if error.filename:
        return str(error.filename)
    return f"standard output, or temporary files in {gettempdir()}"


def _warning_line(message: Warning | str, *_: object, **__: object) -> str:
    return f"warning: {message}\n"


def main() -> None:
    """Entry point: errors meant for the user become one message; wrong input exits with 2."""
    warnings.formatwarning = _warning_line
    prepare_streams()
    end_on_interrupt()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except AllocsimError as error:
        say(f"error: {error}", sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except SystemExit as error:
        if (interruption := _interruption(error)) is not None:
            say("; ".join(map(str, ("interrupted", *interruption.args))), sys.stderr)
        if error.code == EXIT_CODE:
            leave_if_busy()
        raise
    except OSError as error:
        say(f"error: {_place(error)}: {error.strerror or error}", sys.stderr)
        # What is still buffered for a full disk would be complained of once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
