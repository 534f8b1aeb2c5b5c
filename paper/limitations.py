"""What the models leave out, in their own words: the "Not modelled:" of their docstrings."""

import inspect
import re
import sys
from collections.abc import Iterable, Iterator

from allocsim.component import Component
from allocsim.component.fields import Part
from allocsim.policy import load_policy

_SENTENCE = re.compile(r"Not modelled: (.*?)(?:\n\s*\n|$)", re.DOTALL)


def limitations(policies: Iterable[str]) -> list[dict[str, str]]:
    """For each class behind the policies that leaves something out: its name, and what it is.

    Behind a policy stand its base classes and all its parts, the kernel among them.
    """
    found: dict[str, str] = {}
    for name in policies:
        for text, owner in _documents(load_policy(name), set()):
            if match := _SENTENCE.search(text):
                found.setdefault(" ".join(match[1].split()), owner)
    return [{"of": owner, "text": text} for text, owner in found.items()]


def _documents(cls: type, seen: set[type]) -> Iterator[tuple[str, str]]:
    """The docstrings of a component, its bases, their modules and its parts, each with a name."""
    for each in cls.__mro__:
        if each in seen or not issubclass(each, Component):
            continue
        seen.add(each)
        yield inspect.cleandoc(each.__doc__ or ""), each.__name__
        yield sys.modules[each.__module__].__doc__ or "", each.__module__.rpartition(".")[2]
        for value in each._fields.values():
            if isinstance(value, Part):
                yield from _documents(value.cls, seen)
