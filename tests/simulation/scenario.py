"""A plan carried out: one trouble after another, each when the last has been got over, none longer than can
be borne unless nobody is owed anything meanwhile."""

from collections import Counter
from typing import NamedTuple

from tests.simulation.happenings import Happenings
from tests.simulation.installation import Installation
from tests.simulation.troubles import Plan, Trouble
from tests.simulation.virtual import World

SETTLING = 150.0  # after the start, and after a trouble: room for a look, an attempt, a write tried again
TOO_LONG = 2400.0  # seconds after a trouble, within which all is well again, whatever it was


class Outcome(NamedTuple):
    """What came of a scenario. `faults` by kind; `kills` by what they came before."""

    plan: Plan
    broken: tuple[str, ...]
    story: tuple[str, ...]
    faults: Counter[str]
    kills: Counter[str]
    mints: int
    checks: int
    used: int  # of the plan's troubles


class Scenario:
    """One plan and the world that it is carried out in."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.world = World(plan.seed)
        self.here = Installation(self.world, plan.wants)
        self.promise, self.issuer = self.here.promise, self.here.issuer
        self.happenings = Happenings(plan, self.world, self.here)
        self.end = self.world.now + plan.days * 86400
        self._next = 0

    def run(self) -> Outcome:
        world, promise = self.world, self.promise
        promise.tell(str(self.plan.wants))
        promise.excuse(SETTLING)
        for number in range(self.plan.wants.processes):
            self.here.start(number)
        world.plan(world.now + SETTLING, self._prepare)
        world.plan(self.end, lambda: None)
        while world.now < self.end and not promise.broken:
            world.run(min(self.end, world.now + 3600.0))
            promise.check_requests(self.plan.days)
        if not promise.broken:
            promise.check_all()
            for token in self.here.tokens:
                promise.check_mints(token)
        self.here.close()
        kills = self.here.deaths
        return Outcome(
            self.plan,
            tuple(promise.broken),
            tuple(promise.story),
            self.happenings.faults,
            kills,
            len(self.issuer.minted),
            promise.seen["consumer checks"],
            self._next,
        )

    # --- One after another.

    def _prepare(self) -> None:
        """All is well: the next trouble begins in a while."""
        if self._next >= len(self.plan.troubles):
            return
        trouble = self.plan.troubles[self._next]
        self._next += 1
        self.here.spy()
        self.world.plan(self.world.now + trouble.gap * self.plan.wants.lives, lambda: self._begin(trouble))

    def _begin(self, trouble: Trouble) -> None:
        if self.here.leader() is None:  # another that was to come as things were
            self.world.plan(self.world.now + SETTLING, lambda: self._begin(trouble))
            return
        lasts = self.happenings.happen(trouble)
        self.world.plan(self.world.now + lasts, self._over)

    def _over(self) -> None:
        self.world.disturb()
        self._await_well(self.world.now)

    def _await_well(self, since: float) -> None:
        if self.world.now >= since + 60.0 and self.here.is_well():
            self.promise.tell("all is well")
            self.here.hooks.check(self.here)
            self._prepare()
        elif self.world.now > since + TOO_LONG:
            self.promise.violated(f"all is not well {TOO_LONG:.0f} s after the trouble was over")
        else:
            self.world.plan(self.world.now + 20.0, lambda: self._await_well(since))
