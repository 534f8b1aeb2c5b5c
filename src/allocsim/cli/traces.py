"""Commands that make traces and look at them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from allocsim.cli.options import Json, JsonFile, TraceFile, TraceOutput
from allocsim.terminal import say

Force = Annotated[
    bool, typer.Option("--force", help="Replace an earlier recording, its children's traces too.")
]


def record_program(
    output: TraceOutput,
    command: Annotated[
        list[str], typer.Argument(help="The program and its arguments.", metavar="PROGRAM [ARGS]")
    ],
    force: Force = False,
) -> None:
    """Run a program and record its memory calls as a trace.

    Its children get traces of their own. Output and exit code are the program's (128 + n if signal
    n ended it). A summary goes to standard error. The first use builds a small library with the
    system's C compiler. If the disk is full, the recording is kept, and `allocsim trace convert`
    finishes it later.

    Example: `allocsim record -o sort.parquet -- sort -n numbers.txt`
    """
    from allocsim.trace.recorder import record

    recording = record(command, output, force=force)
    say(recording.summary(), sys.stderr)
    raise typer.Exit(recording.exit_code)


def _trace_path(name: str) -> str:
    """The trace file of that path, or the shipped one of that name."""
    from allocsim.errors import InputError
    from allocsim.input_files import is_file
    from allocsim.workload import find_workload

    if "/" in name or "." in name or is_file(name):
        return name
    path = find_workload(name)
    if path.suffix != ".parquet":
        raise InputError(f"{name} is a synthetic workload; only recorded ones have a trace file")
    return str(path)


def trace_info(
    file: TraceFile,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the ops with the content hash.")
    ] = False,
    json_output: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Show where a trace comes from and what it holds; refuse it if its ops make no sense.

    Example: `allocsim trace info run.parquet --check`
    """
    from allocsim.json_output import JsonOutput
    from allocsim.trace.summary import info, plain_info

    output = JsonOutput(json_output, json_file)
    path = _trace_path(file)
    output.write("trace info", plain_info(path, check))
    if not output.replaces_text:
        say(info(path, check))


def trace_head(
    file: TraceFile,
    count: Annotated[int, typer.Option("-n", min=1, help="How many ops.")] = 20,
) -> None:
    """Show the first ops of a trace as a table.

    Example: `allocsim trace head run.parquet -n 5`
    """
    from allocsim.trace.summary import head

    say(head(_trace_path(file), count))


def trace_import(
    file: Annotated[str, typer.Argument(help="A CSV file; - for standard input.")],
    output: TraceOutput,
    program: Annotated[str, typer.Option(help="The program that the ops come from.")] = "",
    notes: Annotated[str, typer.Option(help="What others should know about the trace.")] = "",
) -> None:
    """Make a trace file from CSV, which may be compressed with gzip or zstd.

    The header is `op,thread,object,size,alignment,written,offset,arg,time_ns,think_ns`; all after
    size may be left out. Objects are slots: numbers from 0, used again after a free. Threads may
    have any numbers: where those leave gaps, they are numbered from 0.

    Example: `allocsim trace import ops.csv -o ops.parquet --program myserver`
    """
    from allocsim.trace.text import import_csv

    if note := import_csv(file, output, program, notes):
        print(note, file=sys.stderr)


def trace_export(
    file: TraceFile,
    output: Annotated[
        str, typer.Option("-o", "--output", help="CSV file to write; - for standard output.")
    ],
) -> None:
    """Write a trace as CSV, with every column.

    Example: `allocsim trace export run.parquet -o - | head`
    """
    from allocsim.trace.text import export_csv

    export_csv(_trace_path(file), output)


def trace_convert(
    folder: Annotated[Path, typer.Argument(help="The folder that `allocsim record` kept.")],
    output: TraceOutput,
    force: Force = False,
) -> None:
    """Finish a recording whose traces could not be written, or whose `allocsim record` was killed.

    `allocsim record` says where the recording is; that of a killed one is a hidden folder beside
    its output. It is removed when all its traces are written.

    Example: `allocsim trace convert .run.parquet.x1y2z3 -o run.parquet`
    """
    from allocsim.trace.recorder_traces import convert

    say(convert(folder, output, force=force).summary(), sys.stderr)
