"""Streams the ops of a synthetic workload: the same ops for the same seed, whatever the batches."""

from collections.abc import Iterator

import numpy as np

from allocsim.trace import BATCH_OPS, COLUMNS, Provenance, Trace
from allocsim.workload.spec import Synthetic

_BLOCK_OPS = 65_536
"""Random numbers are drawn for this many ops at a time; part of what a seed means."""


class SyntheticSource:
    """A `TraceSource` that makes its ops as they are asked for; memory does not grow with them.

    seed: a run is a pure function of specification and seed (for one version of NumPy, which does
    not promise its random streams for ever).
    """

    synthetic = True
    """The ops are sound by construction, and its threads meet in simulated time."""

    free_order = True
    """Threads meet in simulated time: only what happens to one object keeps its order."""

    def __init__(self, spec: Synthetic, seed: int):
        self.spec = spec
        self.seed = seed
        self.n_ops = spec.ops
        self.n_slots = spec.threads * spec.pool_per_thread
        self.n_threads = spec.threads

    @property
    def provenance(self) -> Provenance:
        """The specification, seed and NumPy's version."""
        return Provenance(
            program="allocsim synthetic workload",
            written_source="given",
            notes=self.spec.description,
            extras={
                "specification": self.spec.model_dump(mode="json"),
                "seed": self.seed,
                "numpy": np.__version__,
            },
        )

    def batches(self, batch_ops: int = BATCH_OPS) -> Iterator[Trace]:
        """The ops in order, `batch_ops` at a time."""
        provenance = self.provenance
        for columns in _rebatched(self._blocks(), batch_ops):
            yield Trace(**columns, provenance=provenance)

    def _blocks(self) -> Iterator[dict[str, np.ndarray]]:
        # numba takes most of a second to load, which listing workloads should not wait for
        from allocsim.workload.generator import PURPOSES, fill
        from allocsim.workload.state import empty_columns, empty_heap, rules_of

        rules = rules_of(self.spec)
        heap = empty_heap(self.spec.threads, self.spec.slots_per_thread, self.spec.pool_per_thread)
        streams = _streams(self.seed, PURPOSES)
        for start in range(0, self.spec.ops, _BLOCK_OPS):
            n_ops = min(_BLOCK_OPS, self.spec.ops - start)
            uniform = np.stack([stream.random(n_ops) for stream in streams.values()])
            sizes = self.spec.sizes.quantile(uniform[PURPOSES.index("size")])
            columns = empty_columns(n_ops)
            fill(rules, heap, start, uniform, sizes, columns)
            zeros = {name: np.zeros(n_ops, COLUMNS[name]) for name in ("arg", "time_ns")}
            yield {**columns._asdict(), **zeros}


def _streams(seed: int, purposes: tuple[str, ...]) -> dict[str, np.random.Generator]:
    """An independent stream of random numbers per purpose."""
    children = np.random.SeedSequence(seed).spawn(len(purposes))
    return {p: np.random.default_rng(c) for p, c in zip(purposes, children, strict=True)}


def _rebatched(
    blocks: Iterator[dict[str, np.ndarray]], batch_ops: int
) -> Iterator[dict[str, np.ndarray]]:
    """The same rows in tables of `batch_ops` rows, the last one shorter."""
    held: dict[str, np.ndarray] | None = None
    for block in blocks:
        if held is not None:
            block = {name: np.concatenate([held[name], block[name]]) for name in block}
        n_rows = len(block["op"])
        whole = n_rows - n_rows % batch_ops
        for start in range(0, whole, batch_ops):
            yield {name: column[start : start + batch_ops] for name, column in block.items()}
        held = {name: column[whole:] for name, column in block.items()}
    if held is not None and len(held["op"]):
        yield held
