"""The checks of the referee, who watches three runs: small, large and scarce blocks."""

from typing import Any

from allocsim.check import workloads
from allocsim.check.results import CheckResult, failed, noted, passed
from allocsim.check.trial import Trial
from allocsim.driver import Driver
from allocsim.errors import AllocsimError
from allocsim.policy import Policy
from allocsim.referee import FoulError, Referee, refereed
from allocsim.trace import Trace

RULES = (
    "no overlap",
    "alignment",
    "usable size",
    "mapped memory",
    "calloc is zero",
    "contents survive",
    "realloc keeps contents",
)
LITTLE_MEMORY = {"limit_data_bytes": 1 << 20, "limit_as_bytes": 8 << 20}


def check_rules(trial: Trial) -> list[CheckResult]:
    """Whether all calls end well, and what the referee saw: one result a rule."""
    fouls: dict[str, str] = {}
    stops = []
    scarce, _ = workloads.exhausting()
    for trace, limits in (
        (workloads.mixed(), None),
        (workloads.large(), None),
        (scarce, LITTLE_MEMORY),
    ):
        seen, stop = watched_run(trial, trace, limits)
        fouls = seen | fouls
        stops += [stop] if stop else []
    return rule_results(fouls, stops)


def watched_run(
    trial: Trial, trace: Trace, limits: dict[str, int] | None
) -> tuple[dict[str, str], str]:
    """The fouls of a run by rule, and why it stopped before its end, if not for a foul."""
    referees: list[Referee] = []

    def make(policy: type[Policy], **parameters: Any) -> Driver:
        driver = refereed(policy, collects=True, **parameters)
        referees.append(driver.policy)
        return driver

    stop = ""
    try:
        trial.run(trace, limits=limits, make_driver=make)
    except FoulError:
        pass  # it is among the referee's
    except AllocsimError as error:
        stop = str(error)
    return (referees[0].fouls if referees else {}), stop


def rule_results(fouls: dict[str, str], stops: list[str]) -> list[CheckResult]:
    """One result for the runs themselves and one for each rule."""
    results = [failed("runs", stops[0]) if stops else passed("runs")]
    for rule in RULES:
        if rule in fouls:
            results.append(failed(rule, fouls[rule]))
        elif stops:
            results.append(noted(rule, "kept until a run broke off"))
        else:
            results.append(passed(rule))
    return results
