"""`allocsim verify`: is the glibc model equal to the machine's glibc on this workload?"""

from collections.abc import Iterable

from allocsim.driver import driver_for
from allocsim.engine import is_warm
from allocsim.experiment.single import parse_settings
from allocsim.glibc import Glibc
from allocsim.glibc.environment import parameters_from_tunables
from allocsim.ground_truth.verify import Verdict, verify
from allocsim.workload import load_workload

COMPILE_FROM_OPS = 3_000_000


def run(workload: str, settings: Iterable[str], tunables: str, seed: int) -> Verdict:
    """Replay the workload on the real library and on the model, with the same tunables.

    settings: name=value pairs; tunables: a GLIBC_TUNABLES string, which a setting of the same name
    overrides. InputError for either, ReplayError where the real library cannot be run.
    """
    source = load_workload(workload, seed)
    parameters = parameters_from_tunables(tunables)
    parameters |= {k: int(v) for k, v in parse_settings(settings, Glibc).items()}
    long = source.n_ops is None or source.n_ops >= COMPILE_FROM_OPS
    compiled = long or is_warm(driver_for(Glibc))
    return verify(source, parameters, compiled=compiled)
