"""`allocsim heapmap`: one workload under one or two policies, as a page."""

from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID

from allocsim.display_units import show_bytes
from allocsim.errors import InputError
from allocsim.heapmap.exact_blocks import BUDGET_BYTES
from allocsim.heapmap.heap_map import heap_map
from allocsim.heapmap.page import page_of
from allocsim.heapmap.recording import record_run
from allocsim.outputs import AtomicFile
from allocsim.simulate_command import SimulateRequest, specs_of
from allocsim.terminal import say

MOST_POLICIES = 2


def heapmap_command(request: SimulateRequest, output: Path) -> None:
    """Simulate each policy, and write the page with their maps side by side."""
    if len(request.policies) > MOST_POLICIES:
        raise InputError(
            f"{len(request.policies)} policies; a page shows {MOST_POLICIES} at most, side by side"
        )
    file = AtomicFile(output)
    specs = specs_of(request)
    maps = []
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        for name, spec in specs.items():
            recording = record_run(spec, partial(_advance, bar, bar.add_task(name)))
            maps.append(heap_map(recording, name, BUDGET_BYTES // len(specs)))
    file.write_text(page_of(Path(request.workload).stem, maps))
    say(f"{output}: {show_bytes(output.stat().st_size)}")


def _advance(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)
