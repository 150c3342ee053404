"""A daemon on virtual time, for those that look at the engine: endpoints and the systemd notifier."""

from refresher.core.instant import Instant
from refresher.core.state import State, TokenPolicy
from tests.core.builders import NOW, Driver


class Watched:
    """Tokens, an engine's last turn and a clock."""

    def __init__(self, *drivers: Driver) -> None:
        self.drivers = drivers
        self.last_turn = NOW

    def view(self) -> list[tuple[TokenPolicy, State]]:
        return [(each.policy, each.state) for each in self.drivers]

    def now(self) -> Instant:
        return self.drivers[0].now

    def passes(self, seconds: float, wall: float | None = None) -> None:
        for each in self.drivers:
            each.passes(seconds, wall=wall)
