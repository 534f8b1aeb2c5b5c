"""The first ops of a recorded trace, as a source of their own."""

from collections.abc import Iterator

from allocsim.trace import BATCH_OPS, Provenance, Trace, TraceFile


class TraceHead:
    """A `TraceSource` of the first `ops` ops of a file; all of them if it has fewer."""

    def __init__(self, file: TraceFile, ops: int):
        self.file = file
        self.n_ops = min(ops, file.n_ops)
        self.n_slots = file.n_slots
        self.n_threads = file.n_threads

    @property
    def provenance(self) -> Provenance:
        """The file's: where the ops come from."""
        return self.file.provenance

    def batches(self, batch_ops: int = BATCH_OPS) -> Iterator[Trace]:
        """The ops in order, at most `batch_ops` at a time."""
        left = self.n_ops
        for batch in self.file.batches(batch_ops):
            yield batch[:left]
            left -= len(batch)
            if left <= 0:
                return
