"""Workers of a Dask cluster, on this machine or many.

The files that runs name, policies and traces, go to each worker once, as bytes under the hash of
their content: no path needs to be the same there, and no object of theirs is pickled.
"""

import hashlib
import logging
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from allocsim.code_hash import code_hash
from allocsim.errors import InputError, printable
from allocsim.experiment.execution.execute import execute_runs
from allocsim.experiment.execution.executors import Workers
from allocsim.experiment.execution.limits import Limits
from allocsim.experiment.execution.plan import files_of
from allocsim.experiment.execution.transfer import Failure
from allocsim.experiment.records import Record
from allocsim.experiment.sweep import Run

_ENGINE = "allocsim.simulation"
_CONNECT_S = 30
_RETRIES = 3
"""How often a call whose worker is lost, or that raises, is made again."""


@contextmanager
def dask_workers(cluster: str, jobs: int) -> Iterator[Workers]:
    """The workers of a cluster: "local" (`jobs` new processes), a scheduler's address, or its file
    (JSON). InputError where there is none.
    """
    client = _connect(cluster, jobs)
    try:
        yield _workers_of(client)
    finally:
        if client.cluster is not None:
            _kill(client.cluster)
        client.close()


def _connect(cluster: str, jobs: int) -> Any:
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise InputError("--cluster needs Dask: pip install 'allocsim[dask]'") from None
    if cluster.endswith(".json") and not Path(cluster).is_file():  # Dask would wait for it
        raise InputError(f"--cluster {printable(cluster)}: no such file")
    where: dict[str, Any] = {"address": cluster, "timeout": _CONNECT_S}
    if cluster == "local":
        with _interrupts_ignored():
            quiet = logging.CRITICAL
            workers = LocalCluster(n_workers=jobs, threads_per_worker=1, silence_logs=quiet)
        where = {"address": workers}
    elif cluster.endswith(".json"):
        where = {"scheduler_file": cluster, "timeout": _CONNECT_S}
    try:
        client = Client(**where)
        client.wait_for_workers(1, timeout=_CONNECT_S)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"--cluster {printable(cluster)}: {printable(str(error))}") from None
    return client


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """For the start of processes, which go on ignoring Ctrl-C: their parent ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no Ctrl-C comes here, and no handler may be set
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _kill(cluster: Any) -> None:
    """Ends the workers of this machine at once: what they still do is of no use to anybody."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        if nanny.pid:
            os.kill(nanny.pid, signal.SIGKILL)
    cluster.close()


def _workers_of(client: Any) -> Workers:
    n_threads: dict[str, int] = client.nthreads()
    jobs = sum(n_threads.values())
    found = client.scheduler_info(n_workers=-1)["workers"]
    memory = min(w["memory_limit"] // max(1, w["nthreads"]) for w in found.values())
    description = (
        f"{len(n_threads)} Dask workers, {jobs} runs at once; dashboard: {client.dashboard_link}"
    )
    return Workers(DaskExecutor(client), jobs, memory, description)


class DaskExecutor(Executor):
    """Makes `execute_runs` calls on a cluster, with the files that the runs name."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._executor = client.get_executor(retries=_RETRIES, pure=False)
        self._contents: dict[str, tuple[str, Any]] = {}

    def submit(  # type: ignore[override]
        self, _function: Any, runs: list[Run], limits: Limits, sweep: str
    ) -> "Future[list[Record | Failure]]":
        """The outcomes of the runs."""
        files = {file: self._content(file) for run in runs for file in files_of(run)}
        names = {file: f"{digest}/{Path(file).name}" for file, (digest, _) in files.items()}
        contents = [content for _, content in files.values()]
        call: Future[list[Record | Failure]] = self._executor.submit(
            _execute, runs, limits, sweep, names, contents, code_hash(_ENGINE)
        )
        return call

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls."""
        self._executor.shutdown(wait=wait)

    def _content(self, file: str) -> tuple[str, Any]:
        """The hash of a file, and its content on the cluster.

        The scheduler keeps it, as a task that gives it anew where all workers that had it are lost.
        """
        if file not in self._contents:
            content = Path(file).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # of its size
                placed = self._client.submit(bytes, content, key=f"allocsim-{digest}", retries=10)
            self._contents[file] = digest, placed
        return self._contents[file]


def _execute(
    runs: list[Run],
    limits: Limits,
    sweep: str,
    names: dict[str, str],
    contents: list[bytes],
    code: str,
) -> list[Record | Failure]:
    """On a worker: puts the files in place that are not there yet, and makes the runs.

    code: the hash of the allocsim that the results must come from.
    """
    from distributed import get_worker

    if code_hash(_ENGINE) != code:
        return [Failure(f"worker {get_worker().address} has another version of allocsim")] * len(
            runs
        )
    folder = Path(get_worker().local_directory) / "allocsim"
    files = {file: folder / name for file, name in names.items()}
    for place, content in zip(files.values(), contents, strict=True):
        _put(place, content)
    return execute_runs(runs, limits, sweep, {file: str(place) for file, place in files.items()})


def _put(place: Path, content: bytes) -> None:
    """Has the content at that place, whole; other threads may do the same."""
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=place.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    Path(draft).replace(place)
