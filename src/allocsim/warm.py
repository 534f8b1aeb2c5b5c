"""`allocsim warm`: compiles policies ahead of time, so that later runs start compiled."""

import time
from collections.abc import Iterable
from typing import Any

from allocsim import resources
from allocsim.cache import make_cache_folder
from allocsim.compile_ahead import Code, CompileAhead, Compiled, distinct
from allocsim.component.machine_code import FOLDER
from allocsim.experiment.load import load_experiment
from allocsim.experiment.spec import Experiment
from allocsim.json_output import JsonOutput
from allocsim.machine import Machine
from allocsim.platform_support import usable_cpus
from allocsim.policy import policy_names
from allocsim.terminal import say
from allocsim.workload import Synthetic


def codes_of_policies(policies: Iterable[str], machine: Machine, threads: bool) -> list[Code]:
    """What runs of those policies need; threads: also runs of several threads that meet."""
    kinds = (False, True) if threads else (False,)
    return [Code.of(policy, machine, threaded) for threaded in kinds for policy in policies]


def codes_of_shipped_experiments() -> list[Code]:
    """What the shipped experiments need, and every shipped policy on the standard machine."""
    names = sorted(policy_names(), key=lambda name: (name != "glibc", name))
    codes = codes_of_policies(names, Machine(), threads=False)
    for name in resources.names("experiments", ".toml"):
        if "/" not in name:
            codes += _codes_of(load_experiment(name))
    return codes


def _codes_of(experiment: Experiment) -> list[Code]:
    """The code for every policy of an experiment, for its workloads with one thread and more."""
    machine = Machine(**experiment.file.kernel.model_dump())
    specs = [workload.spec for workload in experiment.workloads]
    kinds = {isinstance(spec, Synthetic) and spec.threads > 1 for spec in specs}
    return [Code.of(p.use, machine, threaded) for p in experiment.policies for threaded in kinds]


def warm_command(
    policies: Iterable[str],
    threads: bool = False,
    machine: Machine | None = None,
    output: JsonOutput | None = None,
) -> int:
    """Compile, on all CPUs, and print a line for each; 1 if something cannot be compiled, else 0.

    Without policies: what the shipped experiments need. OutputError when the cache takes no files.
    """
    make_cache_folder(FOLDER)
    started = time.monotonic()
    chosen = list(policies)
    if chosen or threads or machine is not None:
        codes = codes_of_policies(chosen or policy_names(), machine or Machine(), threads)
    else:
        codes = codes_of_shipped_experiments()
    output = output or JsonOutput()
    tell = (lambda _: None) if output.replaces_text else say
    found = []
    compiling = CompileAhead(distinct(codes), usable_cpus())
    try:
        for compiled in compiling.results():
            tell(compiled)
            found.append(compiled)
    finally:
        compiling.close()
    seconds = time.monotonic() - started
    tell(f"{seconds:.1f} s in all; policies that differ in defaults share code")
    output.write("warm", {"seconds": seconds, "codes": [_plain(compiled) for compiled in found]})
    return int(any(compiled.refused for compiled in found))


def _plain(compiled: Compiled) -> dict[str, Any]:
    return {
        "code": str(compiled.code),
        "cpu_seconds": compiled.seconds,
        "was_cached": compiled.was_cached,
        "refused": compiled.refused,
    }
