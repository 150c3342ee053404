"""Changes of the configuration."""

from tests.simulation.happenings.base import Base
from tests.simulation.troubles import Trouble

SETTLING = 150.0  # seconds, after the start of a token: room for a look, an attempt, a write tried again
REMOVED = 20.0  # seconds, within which an output that is not configured any more is deleted


class OfTheConfiguration(Base):
    """Parts of a token are replaced, or it goes and comes back."""

    def configuration_changes(self, trouble: Trouble) -> float:
        """A part is made anew, an output goes and comes back, or the whole token does."""
        token = self._token(trouble)
        name = self._pick(trouble, tuple(token.outputs))
        is_along = trouble.gap == 0.0  # with another trouble: nothing that outlasts it
        kind = int(trouble.pick * 997) % (2 if is_along else 4)
        leader = self.here.leader()
        if leader is not None:  # a mint under way may be lost with its issuer, or with its token
            self._may_change_leader(leader)
        self.promise.may_cost_a_mint("where the value of an adopted token is not known")
        if kind == 0:
            self.promise.tell("all outputs are made anew")
            self.here.reconfigure(anew=tuple(self.here.outputs))
            return 1.0
        if kind == 1:
            self.promise.tell("the clients of the issuer are made anew")
            self.here.reconfigure(anew=("issuer", "verifier"))
            return 1.0
        lasts = trouble.lasts * self._at_most(2 * self.lives)
        gone, before = (name,) if kind == 3 else tuple(token.outputs), dict(token.outputs)
        self.promise.excuse(lasts + SETTLING + token.propagation_delay, *gone)
        for each in gone:
            del token.outputs[each]
        self.here.reconfigure()
        self._expect_removal(gone, lasts)

        def end() -> None:
            self.promise.may_cost_a_mint("where the value of an adopted token is not known")
            token.outputs = before
            self.here.reconfigure()

        labels = [each.rpartition("/")[2] for each in gone]
        return self._until(lasts, f"not configured: {', '.join(labels)}", end)

    def _expect_removal(self, outputs: tuple[str, ...], lasts: float) -> None:
        """Unless it is killed meanwhile, the process deletes them, where that is demanded."""
        deaths, failed = self.here.deaths.total(), self.promise.seen["OutputNotDeleted"]

        def check() -> None:
            if self.here.deaths.total() == deaths:
                for name in outputs:
                    self.promise.check_removed(name, failed)

        if lasts > REMOVED:
            self.world.plan(self.world.now + REMOVED, check)
