"""Changes of the configuration."""

from tests.simulation.happenings.base import Base
from tests.simulation.troubles import Trouble

SETTLING = 150.0  # seconds, after the start of a token: room for a look, an attempt, a write tried again


class OfTheConfiguration(Base):
    """Parts of a token are replaced, or it goes and comes back."""

    def configuration_changes(self, trouble: Trouble) -> float:
        """A part is made anew, an output goes and comes back, or the whole token does."""
        name = self._pick(trouble, tuple(self.here.outputs))
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
        gone = tuple(self.here.outputs) if kind == 2 or len(self.here.outputs) == 1 else (name,)
        self.promise.excuse(lasts + SETTLING + self.plan.wants.propagation_delay, *gone)
        self.here.is_configured = len(gone) < len(self.here.outputs)
        self.here.configured -= set(gone) if self.here.is_configured else set()
        self.here.reconfigure()

        def end() -> None:
            self.promise.may_cost_a_mint("where the value of an adopted token is not known")
            self.here.is_configured, self.here.configured = True, set(self.here.outputs)
            self.here.reconfigure()

        labels = [name.rpartition("/")[2] for name in gone]
        return self._until(lasts, f"not configured: {', '.join(labels)}", end)
