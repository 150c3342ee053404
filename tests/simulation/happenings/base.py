"""What the methods that carry out troubles share: how long a trouble may last, and how it ends."""

from collections import Counter
from collections.abc import Callable

from tests.simulation import design
from tests.simulation.desired import DesiredToken
from tests.simulation.installation import LEASE_DURATION, Installation
from tests.simulation.troubles import Plan, Trouble
from tests.simulation.virtual import World

NOT_SOON = float("inf")
LONG_ENOUGH = 600.0


class Base:
    """Lets troubles happen; `faults` counts them by kind."""

    def __init__(self, plan: Plan, world: World, here: Installation) -> None:
        self.plan, self.world, self.here = plan, world, here
        self.promise, self.issuer = here.promise, here.issuer
        self.lives = plan.wants.lives
        self.faults: Counter[str] = Counter()
        self._keys_made = 0
        self._hung_for_ever: Counter[str] = Counter()  # by process
        self._set_back_at = float("-inf")
        self._lifetimes = [token.lifetime for token in here.tokens]
        self._former_names: list[str] = []
        # How long after the wall clock was set back a token in an output may be believed to be of the future.
        self._remembers_for = 1.1 * (2 * max(self._lifetimes) if plan.wants.guests else self.lives) + 7200
        self._requested_for: list[float] = []  # wall times of the requests at outputs
        self._spare = NOT_SOON  # how long what comes along with a trouble may last

    def happen(self, trouble: Trouble) -> float:
        """Begin it; returns how many seconds it lasts."""
        self.world.disturb()
        self.faults[trouble.kind] += 1
        happening: Callable[[Trouble], float] = getattr(self, trouble.kind)
        return happening(trouble)

    def _until(self, seconds: float, text: str, undo: Callable[[], None]) -> float:
        """It lasts so long, and then is undone."""
        self.promise.tell(f"{text}, for {seconds:.0f} s")

        def end() -> None:
            self.world.disturb()
            undo()
            self.promise.tell("… is over")

        self.world.plan(self.world.now + seconds, end)
        return seconds

    def _bearable(self, *, spare: float = 0.0) -> float:
        """How long the issuer, an output or we ourselves may fail: the headroom, less how far a clock drifts,
        a write that fails along with it, and with two processes the time to take over."""
        wants = self.plan.wants
        if wants.processes > 1:
            spare += LEASE_DURATION + 5.0
        less = spare + 2 * wants.slow
        left = (design.headroom(each) - abs(wants.drift) * each.lives for each in self.here.present)
        return max(0.0, min(left) - less)

    def _along_with(self, trouble: Trouble, lasts: float) -> None:
        """Another one may come on the way."""
        also = trouble.also
        if also is not None:
            self._spare = (1 - also.lasts) * lasts  # what the other one may last
            self.world.plan(self.world.now + also.lasts * lasts, lambda: self.happen(also))

    def _at_most(self, seconds: float) -> float:
        """While a Lease is contended every second is played: not for days."""
        return seconds if self.plan.wants.processes == 1 else min(seconds, LONG_ENOUGH)

    def _pick(self, trouble: Trouble, among: tuple) -> object:
        return among[min(len(among) - 1, int(trouble.pick * len(among)))]

    def _may_change_leader(self, leader: object) -> None:
        self.here.lost_mints(leader, "leadership went between a mint and its first write")

    def _token(self, trouble: Trouble) -> DesiredToken:
        """The token that the trouble is about."""
        present = tuple(self.here.present)
        return self._pick(trouble._replace(pick=trouble.pick * 13 % 1), present)

    def _excuse(self, seconds: float, token: DesiredToken) -> None:
        """For so long nobody is owed a valid token in the outputs of this token."""
        self.promise.excuse(seconds, *token.outputs)
