"""Commands that look at the real machine and its C library."""

from pathlib import Path
from typing import Annotated

import typer

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
from allocsim.terminal import say


def calibrate(
    output: Annotated[Path, typer.Option("-o", "--output", help="The cost table to write (TOML).")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Seconds instead of minutes; coarse figures.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Shuffles the order of the benchmarks.")] = 1,
) -> None:
    """Measure what system calls, page faults and malloc cost here.

    Leave the machine alone meanwhile: under three minutes. A noisy machine is reported. The first
    use builds a small program with the system's C compiler.

    Example: `allocsim calibrate -o costs.toml`
    """
    from allocsim.ground_truth.calibration import calibrate_command

    calibrate_command(output, quick, seed)


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
    """Download other versions of glibc, for verify and measure.

    They are Debian's packages, unpacked into the cache folder; nothing is installed. `verify --set
    version=2.41` then runs that library. The variable ALLOCSIM_DEBIAN_MIRROR names another archive,
    as --mirror does.

    Example: `allocsim fetch-glibc 2.41 2.43`
    """
    from allocsim.ground_truth.libc_packages import fetch_command

    fetch_command(versions or (), mirror)


def verify_command(
    workload: Workload,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter, name=value; repeatable.")
    ] = None,
    tunables: Tunables = "",
    environment: Variables = None,
    cpus: Cpus = None,
    seed: Seed = 0,
    json_output: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Compare the glibc model with the real glibc, op by op.

    Both run the workload; every address, system call and page fault is compared, and the heap at
    the end. Exits with 1, and shows the first difference, if they are not equal. With `--set
    version=2.41` the real one is what `allocsim fetch-glibc` fetched, unless the machine has that
    version.

    Example: `allocsim verify sqlite3 --tunables glibc.malloc.mmap_threshold=65536`
    """
    from allocsim.ground_truth import verify_command
    from allocsim.json_output import JsonOutput
    from allocsim.workload import load_workload

    settings = settings_of(setting, tunables, environment, cpus)
    output = JsonOutput(json_output, json_file)
    verdict = verify_command.run(load_workload(workload, seed), settings)
    output.write("verify", {"workload": workload, "equal": verdict.equal, **vars(verdict)})
    if not output.replaces_text:
        say(verdict)
    raise typer.Exit(0 if verdict.equal else 1)
