"""A long story made short: what a failure needs of its plan, and nothing else.

Delta debugging (Zeller, "Yesterday, my program worked. Today, it does not. Why?", 1999), over the list of
troubles, then over each of them.
"""

from collections.abc import Callable, Iterator

from tests.simulation.troubles import Plan, Trouble

MOST = 200  # plans that are tried: a failure is to be read today


def shrunk(plan: Plan, fails: Callable[[Plan], bool], most: int = MOST) -> Plan:
    """The smallest plan found that still `fails`; `plan` fails."""
    tried = 0
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(plan):
            tried += 1
            if tried > most:
                return plan
            if fails(candidate):
                plan, smaller = candidate, True
                break
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Large steps first."""
    troubles = plan.troubles
    size = len(troubles) // 2
    while size:
        for start in range(0, len(troubles), size):
            rest = troubles[:start] + troubles[start + size :]
            if len(rest) < len(troubles):
                yield plan._replace(troubles=rest)
        size //= 2
    if troubles:
        yield plan._replace(troubles=())
    if len(plan.wants.places) > 1:
        for place in plan.wants.places:
            yield plan._replace(wants=plan.wants._replace(places=(place,)))
    for number, trouble in enumerate(troubles):
        for simpler in _simpler(trouble):
            yield plan._replace(troubles=(*troubles[:number], simpler, *troubles[number + 1 :]))


def _simpler(trouble: Trouble) -> Iterator[Trouble]:
    if trouble.also is not None:
        yield trouble.without()
    if trouble.gap > 0.01:
        yield trouble._replace(gap=0.0)
    if 0 < trouble.lasts < 1:
        yield trouble._replace(lasts=1.0)
