"""The command line: argument parsing only. Every command calls one function of the package."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from allocsim import __version__
from allocsim.errors import AllocsimError, InputError
from allocsim.outputs import check_folder

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
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


trace_app = typer.Typer(no_args_is_help=True, help="Look at recorded traces; import and export.")
app.add_typer(trace_app, name="trace")


@trace_app.command("info")
def trace_info(
    file: Annotated[str, typer.Argument(help="A trace file (Parquet).")],
    check: Annotated[
        bool, typer.Option("--check", help="Compare the ops with the content hash.")
    ] = False,
) -> None:
    """Show where a trace comes from and what it holds; refuse it if its ops make no sense.

    Example: `allocsim trace info run.parquet --check`
    """
    from allocsim.trace.summary import info

    print(info(file, check))


@trace_app.command("head")
def trace_head(
    file: Annotated[str, typer.Argument(help="A trace file (Parquet).")],
    count: Annotated[int, typer.Option("-n", min=1, help="How many ops.")] = 20,
) -> None:
    """Show the first ops of a trace as a table.

    Example: `allocsim trace head run.parquet -n 5`
    """
    from allocsim.trace.summary import head

    print(head(file, count))


@trace_app.command("import")
def trace_import(
    file: Annotated[str, typer.Argument(help="A CSV file; - for standard input.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The trace file to write.")],
    program: Annotated[str, typer.Option(help="The program that the ops come from.")] = "",
    notes: Annotated[str, typer.Option(help="What others should know about the trace.")] = "",
) -> None:
    """Make a trace file from CSV.

    The header is `op,thread,object,size,alignment,written,offset,arg,time_ns,think_ns`; all after
    size may be left out. Objects are slots: numbers from 0, used again after a free.

    Example: `allocsim trace import ops.csv -o ops.parquet --program myserver`
    """
    from allocsim.trace.text import import_csv

    import_csv(file, output, program, notes)


@trace_app.command("export")
def trace_export(
    file: Annotated[str, typer.Argument(help="A trace file (Parquet).")],
    output: Annotated[
        str, typer.Option("-o", "--output", help="CSV file to write; - for standard output.")
    ],
) -> None:
    """Write a trace as CSV, with every column.

    Example: `allocsim trace export run.parquet -o - | head`
    """
    from allocsim.trace.text import export_csv

    export_csv(file, output)


@trace_app.command("convert")
def trace_convert(
    folder: Annotated[Path, typer.Argument(help="The folder that `allocsim record` kept.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The trace file to write.")],
) -> None:
    """Finish a recording whose trace could not be written, for want of room or permission.

    `allocsim record` tells when that is so, and where the recording is. It is removed when all its
    traces are written.

    Example: `allocsim trace convert .run.parquet.x1y2z3 -o run.parquet`
    """
    from allocsim.trace.recorder_traces import convert

    print(convert(folder, output).summary(), file=sys.stderr)


Workload = Annotated[
    str, typer.Argument(help="A trace (Parquet), a workload (TOML), or a shipped one's name.")
]
Seed = Annotated[int, typer.Option(min=0, help="For synthetic workloads.")]
Json = Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")]
Tunables = Annotated[
    str, typer.Option(metavar="STRING", help="A GLIBC_TUNABLES string, as it stands.")
]
Variables = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE", help="A variable as glibc reads it: MALLOC_ARENA_MAX=2; repeatable."
    ),
]
Cpus = Annotated[
    int | None,
    typer.Option(min=1, help="CPUs that the program may run on; they limit glibc's arenas."),
]


Costs = Annotated[
    Path | None, typer.Option(help="A table of unit costs (TOML).", show_default="shipped")
]
Rounds = Annotated[int, typer.Option(min=1, help="How often everything is timed.")]


@app.command("simulate")
def simulate_command(
    workload: Workload,
    policy: Annotated[
        list[str] | None,
        typer.Option(help="A policy's name, or my_policy.py; repeatable. [default: glibc]"),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A parameter, name=value, of the policies that have it; repeatable."
        ),
    ] = None,
    tunables: Tunables = "",
    environment: Variables = None,
    cpus: Cpus = None,
    ops: Annotated[
        Path | None, typer.Option(help="Write each op's address and minor faults (Parquet).")
    ] = None,
    syscalls: Annotated[
        Path | None, typer.Option(help="Write each system call with its op (Parquet).")
    ] = None,
    start_maps: Annotated[
        Path | None, typer.Option(help="Start with the areas of this /proc/PID/maps.")
    ] = None,
    start_brk: Annotated[
        str | None, typer.Option(help="Where the heap starts, with --start-maps.")
    ] = None,
    costs: Costs = None,
    interpreted: Annotated[bool, typer.Option("--interpreted", help="Never compile.")] = False,
    compiled: Annotated[bool, typer.Option("--compiled", help="Compile, or fail.")] = False,
    no_writes: Annotated[
        bool, typer.Option("--no-writes", help="The program writes nothing.")
    ] = False,
    referee: Annotated[
        bool, typer.Option("--referee", help="Check every block (interpreted, slow).")
    ] = False,
    memory: Annotated[
        str | None, typer.Option(help="Physical memory, e.g. 64M; pages beyond it are swapped.")
    ] = None,
    huge_pages: Annotated[
        str, typer.Option(help="Transparent huge pages: never, madvise or always.")
    ] = "never",
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
    from allocsim.experiment.settings import Settings

    single.command(
        single.Request(
            workload=workload,
            policies=tuple(policy or ("glibc",)),
            settings=Settings(tuple(setting or ()), tunables, tuple(environment or ()), cpus),
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


@app.command(
    "record", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True}
)
def record_program(
    output: Annotated[Path, typer.Option("-o", "--output", help="The trace file to write.")],
    command: Annotated[
        list[str], typer.Argument(help="The program and its arguments.", metavar="PROGRAM [ARGS]")
    ],
) -> None:
    """Run a program and record its memory calls; its children get traces of their own.

    The program's output and exit code are its own (128 + n if signal n ended it). A summary goes
    to standard error. The first use builds a small library with the system's C compiler. If the
    disk is full, the recording is kept, and `allocsim trace convert` finishes it later.

    Example: `allocsim record -o sort.parquet -- sort -n numbers.txt`
    """
    from allocsim.trace.recorder import record

    recording = record(command, output)
    print(recording.summary(), file=sys.stderr)
    raise typer.Exit(recording.exit_code)


@app.command("calibrate")
def calibrate(
    output: Annotated[Path, typer.Option("-o", "--output", help="The cost table to write (TOML).")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Seconds instead of minutes; coarse figures.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Shuffles the order of the benchmarks.")] = 1,
) -> None:
    """Measure what system calls, page faults and malloc cost on this machine.

    Leave the machine alone meanwhile: under three minutes. A noisy machine is reported. The first
    use builds a small program with the system's C compiler.

    Example: `allocsim calibrate -o costs.toml`
    """
    from allocsim.ground_truth.calibration import calibrate_command

    calibrate_command(output, quick, seed)


@app.command("run")
def run(
    experiment: Annotated[
        str, typer.Argument(help="An experiment's file (TOML), or the name of a shipped one.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for results [results/NAME].")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, help="Workers [one per CPU].")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compute again what is there.")] = False,
) -> None:
    """Run an experiment: workloads x policies x parameters x seeds; show what came out.

    What is finished is never computed again: after Ctrl-C or a crash the same command goes on.

    Example: `allocsim run experiments/threshold.toml`
    """
    from allocsim.experiment.command import run_command

    raise typer.Exit(run_command(experiment, output, jobs, force))


@app.command("figures")
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
        print(path)


@app.command("claims")
def claims(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Claims by letter, name or file; all by default.", metavar="[CLAIM…]"),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything that was found as JSON.")
    ] = None,
) -> None:
    """Put what textbooks say about brk and mmap to the test.

    Each claim's predictions, in numbers written down beforehand, are compared with a simulation.
    The exit code is 1 when one fails.

    Example: `allocsim claims a g`
    """
    from allocsim.claims.command import claims_command

    raise typer.Exit(claims_command(names or (), json_file))


@app.command("layout")
def layout_command(
    bits: Annotated[int, typer.Option(help="Width of addresses: 32 or 64.")] = 64,
    legacy_layout: Annotated[
        bool, typer.Option("--legacy-layout", help="Mappings grow up from a third of user space.")
    ] = False,
    stack_limit: Annotated[
        int, typer.Option(metavar="BYTES", help="What `ulimit -s` allows the stack.")
    ] = 8 << 20,
) -> None:
    """Draw the simulated address space at a program's start, the highest address on top.

    Example: `allocsim layout --bits 32`
    """
    from allocsim.kernel.draw import draw
    from allocsim.kernel.layout import Layout

    print(draw(Layout.standard(bits, legacy_layout, stack_limit)))


@app.command("check")
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


@app.command("warm")
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


@app.command("fetch-glibc")
def fetch_glibc_command(
    versions: Annotated[
        list[str] | None,
        typer.Argument(help="Versions, such as 2.41; all known by default.", metavar="[VERSION…]"),
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option(help="A Debian archive [https://deb.debian.org/debian]."),
    ] = None,
) -> None:
    """Download Debian's packages of glibc versions and unpack them into the cache folder.

    Nothing is installed. `verify --set version=2.41` then runs that library. The variable
    ALLOCSIM_DEBIAN_MIRROR names another archive, as --mirror does.

    Example: `allocsim fetch-glibc 2.41 2.43`
    """
    from allocsim.ground_truth.libc_packages import fetch_command

    fetch_command(versions or (), mirror)


@app.command("verify")
def verify_command(
    workload: Workload,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter, name=value; repeatable.")
    ] = None,
    tunables: Tunables = "",
    environment: Variables = None,
    cpus: Cpus = None,
    seed: Seed = 0,
) -> None:
    """Run a workload on the real glibc and on the model, and compare op by op.

    Every address, system call and page fault, and the heap at the end. Exits with 1, and shows the
    first difference, if they are not equal. With `--set version=2.41` the real one is what
    `allocsim fetch-glibc` fetched, unless the machine has that version.

    Example: `allocsim verify sqlite3 --tunables glibc.malloc.mmap_threshold=65536`
    """
    from allocsim.experiment.settings import Settings
    from allocsim.ground_truth import verify_command

    settings = Settings(tuple(setting or ()), tunables, tuple(environment or ()), cpus)
    verdict = verify_command.run(workload, settings, seed)
    print(verdict)
    raise typer.Exit(0 if verdict.equal else 1)


@app.command("measure")
def measure_command(
    workload: Workload,
    allocator: Annotated[
        list[str] | None,
        typer.Option(
            help="glibc, glibc-2.41, jemalloc, tcmalloc, mimalloc, tbbmalloc, musl, or a library's "
            "path; repeatable. [default: glibc]"
        ),
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="Also simulate this policy; repeatable.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="A glibc parameter, name=value; repeatable.")
    ] = None,
    tunables: Tunables = "",
    environment: Variables = None,
    cpus: Cpus = None,
    costs: Costs = None,
    rounds: Rounds = 15,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Draw time and memory into this folder.")
    ] = None,
    seed: Seed = 0,
    json_output: Json = False,
) -> None:
    """Run a workload on real allocators: system calls, page faults, resident memory, CPU time.

    The rounds of all allocators are interleaved; the first use builds a small program with the
    system's C compiler.

    Example: `allocsim measure sqlite3 --allocator glibc --allocator jemalloc`
    """
    from allocsim.experiment.settings import Settings
    from allocsim.ground_truth.measurement.command import MeasureRequest, measure_command

    settings = Settings(tuple(setting or ()), tunables, tuple(environment or ()), cpus)
    request = MeasureRequest(
        workload=workload,
        allocators=tuple(allocator or ("glibc",)),
        policies=tuple(policy or ()),
        settings=settings,
        costs=costs,
        rounds=rounds,
        seed=seed,
    )
    if output is not None:
        check_folder(output)
    columns = measure_command(request, json_output)
    if output is not None:
        from allocsim.figures.measurement import draw_measurement_files

        for path in draw_measurement_files(workload, columns, output):
            print(path, file=sys.stderr)


@app.command("validate")
def validate_command(
    workloads: Annotated[
        list[str],
        typer.Argument(help="Traces, workloads, or shipped ones' names.", metavar="TRACE…"),
    ],
    allocator: Annotated[str, typer.Option(help="The real one, as for measure.")] = "glibc",
    policy: Annotated[
        str, typer.Option(help="What is simulated.", show_default="the allocator's model")
    ] = "",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="A parameter, name=value; repeatable. Defaults run beside."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE,…", help="One more setting to run; repeatable."),
    ] = None,
    tunables: Tunables = "",
    environment: Variables = None,
    cpus: Cpus = None,
    costs: Annotated[
        Path | None,
        typer.Option(help="Cost table.", show_default="measured between the rounds"),
    ] = None,
    rounds: Rounds = 15,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Draw predicted against measured here.")
    ] = None,
    seed: Seed = 0,
    json_output: Json = False,
) -> None:
    """Compare simulation and reality: CPU time, calls, faults, resident memory, with errors.

    Every trace runs with the defaults and with each setting, rounds interleaved; unit costs are
    measured in between. Errors stand beside the noise of the measurements.

    Example: `allocsim validate sqlite3 perl --set mmap_threshold=64K -o out`
    """
    from allocsim.experiment.settings import Settings
    from allocsim.ground_truth.validation.command import (
        ValidateRequest,
        validate_command,
        write_costs,
    )

    request = ValidateRequest(
        workloads=tuple(workloads),
        allocator=allocator,
        policy=policy,
        settings=Settings(tuple(setting or ()), tunables, tuple(environment or ()), cpus),
        against=tuple(against or ()),
        costs=costs,
        rounds=rounds,
        seed=seed,
    )
    if output is not None:
        check_folder(output)
    found = validate_command(request, json_output)
    if output is not None:
        from allocsim.figures.validation import draw_validation_files

        for path in (*draw_validation_files(found, output), write_costs(found, output)):
            if path is not None:
                print(path, file=sys.stderr)


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


def main() -> None:
    """Entry point: errors meant for the user become one message; wrong input exits with 2."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except AllocsimError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except SystemExit as error:
        if (interruption := _interruption(error)) is not None:
            print("interrupted", *interruption.args, sep="; ", file=sys.stderr)
        raise
    except OSError as error:
        print(f"error: {_place(error)}: {error.strerror or error}", file=sys.stderr)
        # What is still buffered for a full disk would be complained of once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
