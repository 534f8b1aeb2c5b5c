"""`allocsim verify`: is the glibc model equal to the real glibc on this workload?"""

from allocsim.engine import entry_points, is_warm
from allocsim.experiment.settings import Settings
from allocsim.glibc import Glibc
from allocsim.ground_truth.verdict import Verdict
from allocsim.ground_truth.verify import verify
from allocsim.machine import Machine
from allocsim.platform_support import require_glibc
from allocsim.trace import TraceSource

COMPILE_FROM_OPS = 3_000_000


def run(source: TraceSource, settings: Settings) -> Verdict:
    """Replay a workload's ops on the real library and on the model, with the same settings.

    The real library gets variables and tunables as they stand, the model what glibc would read in
    them. InputError for wrong settings, ReplayError where the real library cannot be run.
    """
    require_glibc("verify")
    settings.parameters(Glibc)  # what they all come to must be possible, too
    pairs = Settings(settings.all_pairs()).parameters(Glibc)
    long = source.n_ops is None or source.n_ops >= COMPILE_FROM_OPS
    return verify(
        source,
        pairs,
        compiled=long or _is_warm(),
        heaps=True,
        environment=settings.environment(),
    )


def _is_warm() -> bool:
    """Whether the model's code is cached."""
    return is_warm(Machine().driver_class(Glibc), entry_points(threaded=False, huge_pages=False))
