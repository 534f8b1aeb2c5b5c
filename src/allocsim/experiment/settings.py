"""Policy parameters as a command line gives them.

Three doors, of which the later ones win: variables of a program's environment (`MALLOC_…`,
`GLIBC_TUNABLES`), a GLIBC_TUNABLES string, and `name=value` pairs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from allocsim.errors import InputError, suggestion
from allocsim.glibc.environment import (
    TUNABLES_VARIABLE,
    VARIABLES,
    parameters_from_environment,
)
from allocsim.policy import Policy, shown_name
from allocsim.quantity import parse_quantity


@dataclass(frozen=True)
class Settings:
    """What was asked for, not yet for a certain policy.

    pairs: `name=value`. tunables: a GLIBC_TUNABLES string. variables: `NAME=VALUE` as in a
    program's environment. cpus: how many processors the program may run on; None: not said.
    """

    pairs: tuple[str, ...] = ()
    tunables: str = ""
    variables: tuple[str, ...] = ()
    cpus: int | None = None

    def environment(self) -> dict[str, str]:
        """The variables, the string of tunables among them; InputError for what is none."""
        found = dict(map(_variable, self.variables))
        strings = (found.get(TUNABLES_VARIABLE, ""), self.tunables)
        joined = ":".join(s.removeprefix(f"{TUNABLES_VARIABLE}=") for s in strings if s)
        return found | ({TUNABLES_VARIABLE: joined} if joined else {})

    def all_pairs(self) -> tuple[str, ...]:
        """The pairs, the number of processors among them."""
        return self.pairs + ((f"cpus={self.cpus}",) if self.cpus is not None else ())

    def parameters(
        self, policy: type[Policy], policies: Sequence[type[Policy]] = ()
    ) -> dict[str, int | float]:
        """The parameters of `policy`, one of `policies` that run with the same settings.

        What only others of them know is left out; what none of them knows is refused. InputError
        names the setting, and what would be right.
        """
        others = policies or (policy,)
        set_apart = parse_settings(_for_policy(policy, others, self.all_pairs()), policy)
        return self._from_environment(policy, others, set_apart.get("version")) | set_apart

    def _from_environment(
        self,
        policy: type[Policy],
        policies: Sequence[type[Policy]],
        version: int | float | None,
    ) -> dict[str, int | float]:
        environment = self.environment()
        if environment and not any(map(is_glibc, policies)):
            raise InputError(
                f"{next(iter(environment))} is read by glibc only, and {shown_name(policy)} is "
                "another policy; use --set name=value"
            )
        if not is_glibc(policy):
            return {}
        known = policy.parameters()
        return {
            name: known[name].checked(name, value)
            for name, value in parameters_from_environment(
                environment, version or known["version"].default
            ).items()
        }


NO_SETTINGS = Settings()


def parse_settings(
    pairs: Iterable[str], policy: type[Policy], option: str = "--set "
) -> dict[str, int | float]:
    """`k=v` pairs as parameters of `policy`; v is a number or a size. option: for messages."""
    known = policy.parameters()
    settings: dict[str, int | float] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InputError(
                f"{option}{pair}: write it as name=value, for example mmap_threshold=64K"
            )
        if name not in known:
            hint = suggestion(name, known)
            raise InputError(
                f"{option}{pair}: {shown_name(policy)} has no parameter {name!r}; {hint}"
            )
        settings[name] = known[name].checked(name, parse_number(f"{option}{pair}", text))
    return settings


def parse_number(option: str, text: str) -> int | float:
    """A number, or a size such as `64K` or `64 KiB`; InputError names `option`."""
    try:
        return parse_quantity(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}") from None


def parse_bytes(option: str, text: str, low: int, high: int = 2**47) -> int:
    """A whole number of bytes from `low` to `high`; InputError names `option`."""
    number = parse_number(option, text)
    if not isinstance(number, int) or not low <= number <= high:
        raise InputError(f"{option}: must be a whole number of bytes from {low} to {high}")
    return number


def _for_policy(
    policy: type[Policy], policies: Sequence[type[Policy]], pairs: tuple[str, ...]
) -> tuple[str, ...]:
    """The pairs whose parameter `policy` has, or none of the policies: those are to be refused."""

    def knows(one: type[Policy], pair: str) -> bool:
        return pair.partition("=")[0] in one.parameters()

    return tuple(
        pair
        for pair in pairs
        if knows(policy, pair) or not any(knows(other, pair) for other in policies)
    )


def is_glibc(policy: type[Policy]) -> bool:
    """Whether a policy has the parameters that glibc's tunables set."""
    return set(VARIABLES.values()) <= policy.parameters().keys()


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    known = (*VARIABLES, TUNABLES_VARIABLE)
    if not equals:
        raise InputError(
            f"--environment {text}: write it as NAME=VALUE, for example MALLOC_ARENA_MAX=2"
        )
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise InputError(f"--environment {text}: glibc's malloc reads no {name}; {hint}")
    return name, value
