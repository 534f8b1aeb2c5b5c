"""A driver that starts again is as good as a new one."""

import pytest

from allocsim import driver_pool
from allocsim.driver import driver_for
from allocsim.errors import InputError
from allocsim.machine import Machine
from allocsim.policy import Policy, load_policy
from allocsim.simulation import simulate
from allocsim.workload import from_spec

SIZES = {"distribution": "loguniform", "low": 1, "high": "512 KiB"}


@pytest.fixture(autouse=True)
def no_idle_drivers():
    driver_pool.clear()
    yield
    driver_pool.clear()


def workload(seed, threads=1):
    spec = {"ops": 1500, "threads": threads, "live_objects": 60, "sizes": SIZES}
    return from_spec(spec, seed)


def outcome(make_driver, seed, policy, machine, threads, parameters):
    result = simulate(
        workload(seed, threads), policy, parameters=parameters, machine=machine,
        make_driver=make_driver, mode="interpreted",
    )  # fmt: skip
    scalars = _scalars(result.driver)
    tables = [result.samples, result.walks, result.threads]
    numbers = [column.tolist() for table in tables for column in table.values()]
    result.close()
    return result.counts.tolist(), numbers, scalars


def _scalars(part):
    """The numbers that a part and the parts below it hold."""
    own = [vars(part)[name] for name in part._scalars]
    return own + [_scalars(below) for below in (*part._parts, *part._sets)]


RUNS = [
    ("glibc", {}, {}, 1),
    ("glibc", {"mmap_threshold": 4096, "arena_max": 1}, {}, 1),
    ("mmap_only", {}, {}, 1),
    ("glibc", {"tcache_count": 0}, {"limit_as_bytes": 8 << 20}, 1),
    ("best_fit", {}, {}, 1),
    ("glibc", {}, {"memory_bytes": 1 << 20}, 1),
    ("glibc", {}, {"huge_pages": "always"}, 1),
    ("glibc", {}, {"cpus": 2, "vma_locks": False}, 3),
    ("glibc", {}, {"cpus": 1}, 2),
    ("glibc", {}, {"bits": 32}, 1),
    ("glibc", {}, {}, 1),
]


def test_runs_on_one_driver_after_another_are_what_they_are_on_new_ones():
    for make_order in (list, lambda runs: list(reversed(runs))):
        for seed, (policy, parameters, machine, threads) in enumerate(make_order(RUNS)):
            case = (seed, load_policy(policy), Machine(**machine), threads, parameters)
            assert outcome(driver_pool.take, *case) == outcome(driver_for, *case), case


def test_an_idle_driver_of_the_class_is_taken_and_others_are_not():
    glibc, best_fit = load_policy("glibc"), load_policy("best_fit")
    first = driver_pool.take(glibc, arena_max=1)
    driver_pool.give_back(first)
    other = driver_pool.take(best_fit)
    second = driver_pool.take(glibc)
    assert second is first
    assert second.policy.arena_max == 0
    assert driver_pool.take(glibc) not in (first, other)


class Remembers(Policy):
    def malloc(self, size):
        self.calls = getattr(self, "calls", 0) + 1
        return 4096 * self.calls + (1 << 30)

    def free(self, address):
        pass


def test_what_a_policy_keeps_outside_of_its_state_is_gone():
    first = simulate(workload(1), Remembers, mode="interpreted", writing=False)
    assert first.driver.policy.calls > 100
    first.close()
    assert first.driver is None
    second = simulate(workload(1), Remembers, mode="interpreted", writing=False)
    assert second.totals == pytest.approx(first.totals, nan_ok=True)


def test_impossible_parameters_are_refused_by_a_driver_that_starts_again():
    glibc = load_policy("glibc")
    driver_pool.give_back(driver_pool.take(glibc))
    with pytest.raises(InputError, match="no parameter 'treshold'"):
        driver_pool.take(glibc, treshold=1)
    with pytest.raises(InputError, match="arena_test: 0 is out of range"):
        driver_pool.take(glibc, arena_test=0)


def test_idle_drivers_are_few():
    glibc = load_policy("glibc")
    drivers = [driver_pool.take(glibc) for _ in range(18)]
    for driver in drivers:
        driver_pool.give_back(driver)
    assert len(driver_pool._idle) == 16
