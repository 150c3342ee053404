"""Which objects have a token, and what is wrong with the others. No I/O."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from refresher.config.output_kinds import secret_names
from refresher.controller.known import Known
from refresher.controller.rivals import mistake, rivals


class Verdict(NamedTuple):
    """`served`: the objects whose token is kept fresh. `mistakes`: of each object that has some, by uid; its
    former token may be served all the same."""

    served: tuple[Known, ...]
    mistakes: Mapping[str, tuple[str, ...]]


def judge(objects: Iterable[Known], key_secrets: Collection[tuple[str, str]]) -> Verdict:
    """The verdict about all objects. `key_secrets`: the Secrets with application keys."""
    objects = list(objects)
    mistakes = {known.uid: known.mistakes for known in objects if known.mistakes}
    claims = []
    for known in objects:
        secret = secret_of(known)
        if secret is None:
            continue
        if secret in key_secrets:
            text = "spec.secret.name: is a Secret with application keys; name another Secret"
            mistakes[known.uid] = (*known.mistakes, text)
        else:
            claims.append((known, secret))
    losers = rivals(claims)
    for known, _ in claims:
        if known.uid in losers:
            mistakes[known.uid] = (*known.mistakes, mistake(losers[known.uid]))
    served = tuple(known for known, _ in claims if known.uid not in losers)
    return Verdict(served, mistakes)


def secret_of(known: Known) -> tuple[str, str] | None:
    """Namespace and name of the Secret that the object demands; None if it demands nothing."""
    if known.demand is None:
        return None
    ((_, name),) = secret_names(known.demand.token.outputs, known.namespace)
    return known.namespace, name
