"""A daemon as observers see it: the real machine and counters, and a clock that stands still."""

from collections.abc import Callable, Iterator

from refresher.core.events import Event
from refresher.core.instant import Instant
from refresher.core.model import Outcome, SecretStr, Token, Try
from refresher.core.notifications import IssuerAnswered
from refresher.core.state import OutputPolicy, State, TokenPolicy
from refresher.metrics.counters import Counters
from refresher.metrics.exposition import Metrics
from tests.core.builders import KEY, NOW, Driver, policy, token

OK = IssuerAnswered((Try(Outcome.OK, 0.2),), skew=-1.5)


class Clock:
    """`ports.Clock` that shows a set time."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> Instant:
        return self.time


class Daemon:
    """Tokens with their states, as an engine has them. Every notification is counted."""

    def __init__(
        self,
        *names: str,
        outputs: tuple[OutputPolicy, ...] = (OutputPolicy("file:/a", 0.0, False),),
        log_lines_dropped: Callable[[], int] | None = None,
    ) -> None:
        self.tokens = {name: Driver(policy(*outputs)._replace(name=name)) for name in names}
        self.clock, self.counters = Clock(), Counters()
        self.last_turn: Instant | None = None  # None: now
        self.minted = 0
        self.metrics = Metrics(self.view, self._turn, self.clock, self.counters, "1.2.3", log_lines_dropped)

    def _turn(self) -> Instant:
        return self.last_turn or self.clock.time

    def view(self) -> Iterator[tuple[TokenPolicy, State]]:
        for driver in self.tokens.values():
            yield driver.policy, driver.state

    def begin(self, name: str, key: SecretStr = KEY) -> None:
        """The token's key is read and its outputs are looked at."""
        self.tokens[name].begin(key)
        self._count(name)

    def mints(self, name: str, what: Token | None = None) -> None:
        """The mint in flight returns a token, which is written to every output."""
        driver = self.tokens[name]
        self.counters.on_notification(name, OK, self.clock.now())
        driver.perform(driver.minted(what or token()))
        self._count(name)

    def observe(self, name: str, event: Event) -> None:
        self.tokens[name].observe(event)
        self._count(name)

    def _count(self, name: str) -> None:
        driver = self.tokens[name]
        for notification in driver.notifications:
            self.counters.on_notification(name, notification, driver.now)
        driver.notifications.clear()


def at_work(
    *names: str, outputs: tuple[OutputPolicy, ...] = (OutputPolicy("file:/a", 0.0, False),)
) -> Daemon:
    """A daemon that has just minted and written the first token of each name."""
    daemon = Daemon(*names, outputs=outputs)
    for name in names:
        daemon.begin(name)
        daemon.mints(name)
    return daemon
