"""What a policy's class may not do, looked at before any operation."""

import inspect
from typing import Any

from allocsim.component import Component, Part
from allocsim.errors import InputError

_ARGUMENTS = {
    "malloc": ("size",),
    "free": ("address",),
    "usable_size": ("address",),
    "calloc": ("size",),
    "realloc": ("address", "size"),
    "aligned_alloc": ("alignment", "size"),
    "private_malloc": ("size",),
    "private_free": ("address",),
    "thread_exit": (),
    "walk": (),
}
_CREATION = ("__init__", "__new__", "__slots__")
_FRAMEWORKS_OWN = {name for name in vars(Component) if not name.startswith("__")} - {
    "_fields",  # every class has its own
    "_constants",
    "close",  # may mean something else in a policy
}
_FRAMEWORKS_OWN |= {"_record", "_up", "_scalars", "_parts", "_sets", "each_"}


def require_contract(policy: type[Component], base: type[Component]) -> None:
    """InputError if a class derived from `base`, which is Policy, cannot be used as a policy."""
    if problem := _problem(policy, base):
        raise InputError(f"policy {policy.__name__} {problem}")


def _problem(policy: type[Component], base: type[Component]) -> str:
    if not (inspect.isclass(policy) and issubclass(policy, base)):
        return "is no class derived from allocsim.Policy"
    for cls in policy.__mro__[: policy.__mro__.index(base)]:
        if problem := _names(cls, base):
            return problem
    for name in base._fields:
        if not _is_alike(policy._fields[name], base._fields[name]):
            return f"has a field {name!r}, which is allocsim's own name; choose another one"
    for name, arguments in _ARGUMENTS.items():
        if problem := _method(policy, name, arguments):
            return problem
    for name in ("malloc", "free"):
        if getattr(policy, name) is getattr(base, name):
            return f"defines no {name}(self, {_ARGUMENTS[name][0]})"
    return ""


def _names(cls: type, base: type[Component]) -> str:
    """What is wrong with the names that a class body defines."""
    own = vars(cls)
    for name in _CREATION:
        if name in own:
            return (
                f"defines {name}, but allocsim creates policies itself: fields of the class hold "
                "what a policy starts with, and setup(self) may compute it"
            )
    declared = own.get("_fields", {}).keys()
    taken = (_FRAMEWORKS_OWN | base._fields.keys()) & own.keys() | _FRAMEWORKS_OWN & declared
    if taken:
        return f"defines {min(taken)!r}, which is allocsim's own name; choose another one"
    return ""


def _is_alike(own: Any, usual: Any) -> bool:
    """Whether a field of Policy is still what it was: a part may be of a derived class."""
    if isinstance(usual, Part):
        return isinstance(own, Part) and issubclass(own.cls, usual.cls)
    return type(own) is type(usual)


def _method(policy: type[Component], name: str, arguments: tuple[str, ...]) -> str:
    right = f"{name}({', '.join(('self', *arguments))})"
    method = getattr(policy, name, None)
    if name in policy._fields or not callable(method):
        return f"has a {name!r} that is no method; it must be {right}"
    try:
        inspect.signature(method).bind(None, *arguments)
    except (TypeError, ValueError):
        return f"has {name}{inspect.signature(method)}, which must take what {right} takes"
    return ""
