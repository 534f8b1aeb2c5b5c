"""The ops of a source, checked, as the driver takes them; decoded once for many runs of a process.

A sweep runs the same ops through many policies, and decoding and checking them takes longer than
a compiled run. What was decoded stays in memory up to a limit, the latest sources first.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator

from allocsim.engine.batch import Batch
from allocsim.trace import BATCH_OPS, TraceFile, TraceSource, validated
from allocsim.workload import SyntheticSource, TraceHead, source_identity

MOST_BYTES = 256 << 20
"""Of all sources together; of one source, a quarter."""

_OP_BYTES = 80  # of all columns
_decoded: OrderedDict[str, list[Batch]] = OrderedDict()
_lock = threading.Lock()


def checked_batches(source: TraceSource) -> Iterator[Batch]:
    """The ops in order, each batch checked before it is given out; InputError where one is wrong.

    A second run over the ops of a short source, in this process, finds them decoded.
    """
    if not _is_kept(source):
        yield from _decode(source)
        return
    identity = source_identity(source)
    with _lock:
        batches = _decoded.get(identity)
    if batches is None:
        batches = []
        for batch in _decode(source):
            batches.append(batch)
            yield batch
        _keep(identity, batches)
        return
    yield from batches


def _is_kept(source: TraceSource) -> bool:
    """Whether the source has an identity, and few enough ops."""
    named = isinstance(source, SyntheticSource | TraceFile | TraceHead)
    return named and (source.n_ops or 0) * _OP_BYTES <= MOST_BYTES // 4


def _decode(source: TraceSource) -> Iterator[Batch]:
    """Ops that allocsim made are sound."""
    is_synthetic = getattr(source, "synthetic", False)
    return map(Batch, source.batches(BATCH_OPS) if is_synthetic else validated(source))


def _keep(identity: str, batches: list[Batch]) -> None:
    with _lock:
        _decoded[identity] = batches
        _decoded.move_to_end(identity)
        while sum(len(b) for kept in _decoded.values() for b in kept) * _OP_BYTES > MOST_BYTES:
            _decoded.popitem(last=False)
