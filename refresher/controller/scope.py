"""Which `AccessToken` objects an installation serves: namespaces and a label selector. No I/O."""

import re
from typing import NamedTuple

from refresher.config import addresses
from refresher.config.kube_metadata import KEY, VALUE
from refresher.config.quoting import shown
from refresher.errors import ConfigurationError, Problem

LONGEST_SELECTOR = 2048  # characters: it goes into a URL

_NAMESPACE = re.compile(addresses.NAMESPACE)
_NAMESPACES_ACCEPTED = "NAMESPACE[,NAMESPACE…], each of a-z, 0-9 and -, a letter or digit at either end"
_REQUIREMENT = (
    rf"!?{KEY}|{KEY}\s*(?:==?|!=)\s*{VALUE}|{KEY}\s+(?:in|notin)\s*\(\s*{VALUE}(?:\s*,\s*{VALUE})*\s*\)"
)
_SELECTOR = re.compile(rf"\s*(?:{_REQUIREMENT})\s*(?:,\s*(?:{_REQUIREMENT})\s*)*")
_SELECTOR_ACCEPTED = "labels as for `kubectl get --selector`, such as team=studio or 'tier in (a,b),!beta'"


class Scope(NamedTuple):
    """What an installation serves. `namespaces`: empty for all. `selector`: empty for every object."""

    namespaces: tuple[str, ...]
    selector: str = ""

    def described(self) -> str:
        """For the log."""
        names = ", ".join(self.namespaces)
        where = f"namespace {names}" if len(self.namespaces) == 1 else f"namespaces {names or '(all)'}"
        return f"{where}, AccessTokens with {self.selector}" if self.selector else where


def scope_of(namespaces: str | None, selector: str | None, home: str, *, everywhere: bool) -> Scope:
    """The scope that the flags of the command describe. `home`: the namespace that is served by default.

    Raises ConfigurationError with every problem.
    """
    problems: list[Problem] = []
    names = [home] if namespaces is None else [name.strip() for name in namespaces.split(",")]
    if namespaces is not None and everywhere:
        problems.append(Problem("--all-namespaces", "excludes --namespaces; give one of the two"))
    for name in names:
        if not _NAMESPACE.fullmatch(name):
            text = f"{shown(name)} is not the name of a namespace; accepted: {_NAMESPACES_ACCEPTED}"
            problems.append(Problem("--namespaces", text))
    if selector is not None and not _is_selector(selector):
        text = f"{shown(selector)} is no label selector; accepted: {_SELECTOR_ACCEPTED}"
        problems.append(Problem("--selector", text))
    if problems:
        raise ConfigurationError(tuple(problems))
    return Scope(() if everywhere else tuple(dict.fromkeys(names)), selector or "")


def _is_selector(text: str) -> bool:
    return len(text) <= LONGEST_SELECTOR and _SELECTOR.fullmatch(text) is not None
