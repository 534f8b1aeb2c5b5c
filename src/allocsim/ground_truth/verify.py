"""Compares the glibc model with the real glibc, op by op: equal, or the first difference.

    verdict = verify(open_trace("trace.parquet"), {"mmap_threshold": 65536})
    print(verdict)

Compared are every address, every system call with arguments and result, every op's minor faults,
and, at the end, the heap's resident pages, the break and mallinfo2.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Unpack

from allocsim.errors import InputError
from allocsim.glibc import Glibc
from allocsim.glibc.environment import parameters_from_environment
from allocsim.glibc.tunables import NOT_SET
from allocsim.ground_truth.heaps import both_heaps, chunks_at, first_ops
from allocsim.ground_truth.libc_packages import libc_for
from allocsim.ground_truth.modelled import modelled, start_of_replays, version_of
from allocsim.ground_truth.replay import replay
from allocsim.ground_truth.start import Surroundings
from allocsim.ground_truth.verdict import Verdict, compared
from allocsim.policy import Policy
from allocsim.trace import Trace, TraceSource

NO_TUNABLES = ("cpus", "version")
"""Parameters of the policy that are no tunables of the library."""


def verify(
    source: TraceSource,
    parameters: Mapping[str, int | float] | None = None,
    *,
    policy: type[Policy] = Glibc,
    compiled: bool = True,
    heaps: bool = False,
    **surroundings: Unpack[Surroundings],
) -> Verdict:
    """Run `source` on the real glibc and on the model with the same tunables, and compare.

    `parameters` are the policy's; their `version` says which library is run: the machine's own, a
    fetched package, or that in the folder `libc`. Variables in `environment` are read by the model
    as glibc reads them, and the parameters win. With `hugetlb`, huge pages are switched off for the
    real program: glibc's calls are the same, and the model's pages are all small. `heaps`: where
    they differ, run both once more up to there and look at their heaps. Raises ReplayError or
    InputError where the real library cannot be run.
    """
    given = dict(parameters or {})
    tunables = {
        name: int(value)
        for name, value in given.items()
        if name not in NO_TUNABLES and value != NOT_SET
    }
    version = version_of(policy, given)
    environment = surroundings.get("environment") or {}
    chosen = parameters_from_environment(environment, float(version)) | given
    libc = surroundings["libc"] = surroundings.get("libc") or libc_for(version)
    if "cpus" in chosen:
        surroundings.setdefault("cpus", int(chosen["cpus"]))
    if chosen.get("hugetlb"):
        surroundings.setdefault("huge_pages", "never")
    trace = Trace.concatenate(source.batches())
    truth = replay(trace, tunables, **surroundings)
    if truth.libc != version:
        raise InputError(f"the model's version is {version}, but {libc} holds glibc {truth.libc}")
    chosen["cpus"] = truth.cpus
    run = partial(
        modelled,
        parameters=chosen,
        policy=policy,
        compiled=compiled,
        start=start_of_replays(libc, tuple(environment.items())),
        marks=surroundings.get("marks"),
    )
    verdict = compared(trace, truth, run(trace))
    if verdict.equal or not heaps:
        return verdict
    shown = first_ops(trace, verdict.ops_to_show)
    model = run(shown)
    focus = chunks_at(trace, verdict.op, truth.address, model.address)
    lines = both_heaps(shown, model.driver.policy, focus, tunables, **surroundings)
    return replace(verdict, heaps=lines)
