"""Troubles of the issuer, and of the API at which new tokens are tried."""

from refresher.core.events import ExpiryReported, RefreshRequested
from refresher.core.model import Verdict
from refresher.executor import MINT_GRACE
from refresher.ports import Message
from tests.simulation import design
from tests.simulation.happenings.base import Base
from tests.simulation.issuer import MOODS
from tests.simulation.promise import EFFECT
from tests.simulation.troubles import Trouble


class OfTheIssuer(Base):
    """The issuer fails, hangs, is slow, or issues bad tokens."""

    def outage(self, trouble: Trouble) -> float:
        lasts = trouble.lasts * self._bearable()
        mood = self._pick(trouble, MOODS)
        self.issuer.mood = mood

        def end() -> None:
            self.issuer.mood = None

        self._along_with(trouble, lasts)
        return self._until(lasts, f"the issuer fails: {mood.name}", end)

    def resolver_hangs(self, trouble: Trouble) -> float:
        """An attempt that hangs is given up a while after its budget has run out, and tried anew."""
        lasts = trouble.lasts * self._bearable(spare=MINT_GRACE + 2.0)
        takes = self._pick(trouble, (0.0, 1.0, 30.0))
        self.issuer.resolver_hangs_until, self.issuer.resolving_takes = self.world.now + lasts, takes
        self._along_with(trouble, lasts)
        return self._until(lasts, f"no name is resolved ({takes:.0f})", lambda: None)

    def slow_answers(self, trouble: Trouble) -> float:
        self.issuer.dawdles = True
        lasts = trouble.lasts * 3 * self.lives
        return self._until(lasts, "the issuer is slow", lambda: setattr(self.issuer, "dawdles", False))

    def same_token(self, trouble: Trouble) -> float:
        self.issuer.repeats = True
        lasts = trouble.lasts * self._bearable()
        return self._until(
            lasts, "the issuer repeats its last token", lambda: setattr(self.issuer, "repeats", False)
        )

    def token_ends_early(self, trouble: Trouble) -> float:
        """A consumer learns that its token has expired, and reports it."""
        leader, desired = self.here.leader(), self._token(trouble)
        state = self.here.state_of(leader, desired) if leader else None
        facts = state.facts if state else None
        if facts is None:
            return 0.0
        token = self.issuer.of_fingerprint[facts.fingerprint]
        token.ends = min(token.ends, self.world.now)
        age = self.world.now - token.minted
        replaced = max(0.0, design.soonest(desired) * 1.001 - age)
        until = replaced + EFFECT + 2 * self.plan.wants.slow
        self._excuse(until + desired.propagation_delay, desired)
        self.promise.tell(f"token {token.number} ends early, and that is reported")
        self.promise.may_cost_a_mint("its end was reported", desired.number)
        as_short = "the next is believed to live as short"
        self.world.after(replaced, lambda: self.promise.may_cost_a_mint(as_short, desired.number))
        leader.mailbox.post(Message(None, ExpiryReported(facts.fingerprint)))
        self.world.plan(self.world.now + until, lambda: self._ask(leader))
        return until + 1.0

    def _ask(self, process: object) -> None:
        """Have all minted anew: else no later token is believed to live longer than this one did."""
        self.promise.tell(f"SIGUSR1 for {process.name}")
        self.promise.may_cost_a_mint("an operator asked")
        process.mailbox.post(Message(None, RefreshRequested()))

    def verifier_fails(self, trouble: Trouble) -> float:
        """Rejected tokens are no tokens, so that is an outage. What has no clear end holds nothing up."""
        verdict = self._pick(trouble, (Verdict.REJECTED, Verdict.REJECTED, Verdict.INCONCLUSIVE, None))
        self.issuer.verdict = verdict or Verdict.INCONCLUSIVE
        self.issuer.trials_hang = verdict is None
        lasts = trouble.lasts * (self._bearable() if verdict is Verdict.REJECTED else 3 * self.lives)

        def end() -> None:
            self.issuer.verdict, self.issuer.trials_hang = Verdict.GOOD, False

        return self._until(lasts, f"trials: {verdict}", end)
