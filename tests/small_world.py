"""A simulated world around the real engine: virtual time, an issuer and outputs that keep state.

Nothing sleeps and nothing is patched: the engine gets another executor, another clock and another mailbox. An
effect takes virtual time, so that signals, outages and kills fall between its beginning and its end.
"""

import contextlib
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from refresher.core.effects import Mint
from refresher.core.events import KeysPolled
from refresher.core.instant import Instant
from refresher.core.model import (
    Declined,
    Granted,
    Holding,
    MintResult,
    Outcome,
    SecretStr,
    Token,
    TokenFacts,
    Try,
)
from refresher.core.notifications import Notification
from refresher.core.schedule import attempt_budget
from refresher.core.seal import Sealer
from refresher.core.state import OutputPolicy, TokenPolicy
from refresher.engine import KEY_POLL, Engine
from refresher.errors import KeyUnreadableError, OutputError
from refresher.executor import Executor
from refresher.keys.poller import KeyPoller
from refresher.lanes import Work
from refresher.ports import ManagedToken, Message

EPOCH = 1_800_000_000.0


class World:
    """Virtual time and what is going to happen in it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.boot = 1000.0
        self.wall_ahead = EPOCH  # wall - boot; a jump of the wall clock changes it
        self.key_watchers: list[Callable[[], None]] = []
        self.watch: Callable[[], None] = lambda: None  # called whenever time has moved
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def now(self) -> Instant:
        return Instant(self.boot + self.wall_ahead, self.boot)

    def at(self, boot: float, happening: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (max(boot, self.boot), next(self._order), happening))

    def after(self, seconds: float, happening: Callable[[], None]) -> None:
        self.at(self.boot + seconds, happening)

    def advance(self, until: float, enough: Callable[[], bool]) -> None:
        """Let time pass to `until`, or until `enough`."""
        while not enough():
            if not self._agenda or self._agenda[0][0] > until:
                self.boot = max(self.boot, until)
                self.watch()
                return
            self.boot, _, happening = heapq.heappop(self._agenda)
            self.watch()
            happening()


class SimulatedMailbox:
    """Taking from it is what makes time pass."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._messages: deque[Message] = deque()
        self.closed = False  # killed: whoever waits gets `Killed`

    def post(self, message: Message) -> None:
        self._messages.append(message)

    def take(self, timeout: float) -> Message | None:
        self._world.advance(self._world.boot + max(0.0, timeout), lambda: bool(self._messages) or self.closed)
        if self.closed:
            raise KilledError
        return self._messages.popleft() if self._messages else None


class KilledError(BaseException):
    """kill -9: not an Exception, so that nothing of the program can catch it."""


class SimulatedExecutor(Executor):
    """The real executor, but each effect takes virtual time. `killed` ones never come back."""

    def __init__(self, world: World, mailbox: SimulatedMailbox) -> None:
        super().__init__(world, mailbox, None, world.dice.random)  # type: ignore[arg-type]
        self._world, self._box = world, mailbox

    def prepare(self, managed_tokens: object) -> None:
        """There are no threads here."""

    def tend(self) -> None:
        """As above."""

    def start(self, managed: ManagedToken, work: Work) -> None:
        if isinstance(work.step, Mint):
            self._mint_later(managed, work)
        else:
            self._world.after(self._world.dice.uniform(0.001, 0.05), lambda: self._finish(managed, work))

    def _mint_later(self, managed: ManagedToken, work: Work) -> None:
        """The issuer makes up its mind while the request is under way, and the answer takes time too."""
        sent = self._world.now()
        issuer = managed.issuer
        latency = issuer.latency(attempt_budget(managed.policy.timeout, managed.policy.lifetime))

        def decide() -> None:
            issuer.decide(work.step.key, managed.policy.lifetime, sent)
            answered = issuer.answer
            self._world.after(latency / 2, lambda: deliver(answered))

        def deliver(answered: MintResult) -> None:
            issuer.answer = answered
            self._finish(managed, work)

        self._world.after(latency / 2, decide)

    def _finish(self, managed: ManagedToken, work: Work) -> None:
        if not self._box.closed:
            self._box.post(self.perform(managed, work.step)._replace(work=work))

    def read_keys(self, keys: KeyPoller) -> None:
        """Reading that would find nothing new is left out: it comes back within a poll of the next change."""

        def read() -> None:
            messages = list(keys.poll(self._world.boot))
            if messages:
                for message in messages:
                    self._box.post(message)
                self._box.post(Message(None, KeysPolled()))
            elif not self._box.closed:
                self._world.key_watchers.append(
                    lambda: self._world.after(self._world.dice.uniform(0, KEY_POLL), read)
                )

        self._world.after(0.001, read)


@dataclass
class SimulatedIssuer:
    """Mints for the keys it knows; `failing` makes it fail in one of the ways of the answers' table."""

    world: World
    keys: set[str]
    failing: Declined | None = None
    same_token: bool = False
    slow: float = 0.05
    really_lives: dict[str, float] = field(default_factory=dict)  # fingerprint -> true end, boot seconds
    minted: list[tuple[float, str]] = field(default_factory=list)  # boot seconds, key
    asked: list[float] = field(default_factory=list)
    last_fingerprint: str = ""
    answer: MintResult = None  # type: ignore[assignment]
    _last: Granted | None = None
    lane: str = "issuer:https://issuer.test"

    def latency(self, budget: float) -> float:
        if self.failing is not None and self.failing.outcome is Outcome.TIMEOUT:
            return budget
        return self.world.dice.uniform(0.02, self.slow)

    def decide(self, key: SecretStr, lifetime: float, sent: Instant) -> None:
        self.asked.append(self.world.boot)
        self.answer = MintResult(self._decide(key, lifetime), sent, (Try(Outcome.OK, 0.1),))

    def _decide(self, key: SecretStr, lifetime: float) -> Granted | Declined:
        if self.failing is not None:
            return self.failing
        if key.reveal() not in self.keys:
            return Declined(Outcome.KEY_REFUSED, "401")
        if self.same_token and self._last is not None:
            return self._last
        number = len(self.minted)
        access = SecretStr(f"token-{number}-{self.world.dice.getrandbits(64):016x}")
        self.really_lives[access.fingerprint] = self.world.boot + lifetime
        self.minted.append((self.world.boot, key.reveal()))
        self.last_fingerprint = access.fingerprint
        self._last = Granted(access, SecretStr(f"refresh-{number}"))
        return self._last

    def mint(self, key: SecretStr, lifetime: float, budget: float) -> MintResult:
        return self.answer


@dataclass
class SimulatedKey:
    """A key source whose content the scenario changes."""

    world: World
    content: str | None
    name: str = "key"
    lane: str = "key:"

    def change(self, content: str | None) -> None:
        self.content = content
        watchers, self.world.key_watchers = self.world.key_watchers, []
        for watcher in watchers:
            watcher()

    def read(self) -> SecretStr:
        if self.content is None:
            raise KeyUnreadableError("the key file is gone")
        return SecretStr(self.content)


@dataclass
class SimulatedOutput:
    """Keeps its token over restarts, as a file with its metadata does.

    `opaque`: the value cannot be read back (format "template"); `no_refresh`: the refresh token cannot.
    """

    name: str
    lane: str = "file:"
    includes_refresh_token: bool = False
    secret: tuple[str, str] | None = None
    opaque: bool = False
    no_refresh: bool = False
    content: Token | None = None
    broken: bool = False
    written: list[tuple[float, str]] = field(default_factory=list)  # boot seconds, token fingerprint

    def inspect(self, now: Instant) -> Holding:
        if self.broken:
            raise OutputError(f"{self.name}: read-only file system")
        if self.content is None:
            return Holding()
        known = self.content.facts
        age = now.wall - known.issued.wall
        facts = TokenFacts(
            Instant(known.issued.wall, now.boot - age),
            known.lifetime,
            known.requested,
            known.key_fingerprint,
            known.fingerprint,
            known.has_refresh_token,
            known.issuer,
        )
        token = Token(facts, self.content.access, None if self.no_refresh else self.content.refresh_token)
        return Holding(facts, None if self.opaque else token, intact=True)

    def write(self, token: Token, now: Instant, sealer: Sealer) -> None:
        if self.broken:
            raise OutputError(f"{self.name}: read-only file system")
        self.content = token
        self.written.append((now.boot, token.facts.fingerprint))

    def claim(self) -> None:
        pass

    def dry_run(self) -> None:
        if self.broken:
            raise OutputError(f"{self.name}: read-only file system")


@dataclass
class Notebook:
    """An observer that remembers."""

    entries: list[tuple[float, Notification]] = field(default_factory=list)

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:
        self.entries.append((now.boot, notification))

    def of(self, kind: type) -> list[Notification]:
        return [notification for _, notification in self.entries if isinstance(notification, kind)]


class Installation:
    """One token's process in a world: it can be started, run for a while, killed and started again."""

    def __init__(
        self,
        world: World,
        issuer: SimulatedIssuer,
        key: SimulatedKey,
        policy: TokenPolicy,
        outputs: tuple[SimulatedOutput, ...],
    ) -> None:
        self.world, self.issuer, self.key, self.policy, self.outputs = world, issuer, key, policy, outputs
        self.notebook = Notebook()
        self.mailbox = SimulatedMailbox(world)

    def start(self) -> None:
        self.mailbox = SimulatedMailbox(self.world)
        self.engine = Engine(
            [ManagedToken(self.policy, self.key, self.outputs, self.issuer)],
            executor=SimulatedExecutor(self.world, self.mailbox),
            clock=self.world,
            mailbox=self.mailbox,
            observers=[self.notebook],
        )

    def kill(self) -> None:
        self.mailbox.closed = True

    def run(self, until: float) -> None:
        """Run until `until` (boot seconds); killed, it is started again after a moment."""
        self.world.at(until, self.kill)
        while self.world.boot < until:
            self.start()
            with contextlib.suppress(KilledError):
                self.engine.run()
            downtime = self.world.dice.uniform(0.1, 5.0)
            self.world.advance(min(until, self.world.boot + downtime), enough=lambda: False)


def policy(outputs: tuple[SimulatedOutput, ...], **wants: float) -> TokenPolicy:
    """A token's policy with the defaults of the configuration."""
    propagation_delay = wants.pop("propagation_delay", 0.0)
    defaults = {"lifetime": 3600.0, "refresh_at": 0.7, "timeout": 10.0, "horizon": 0.0}
    return TokenPolicy(
        "studio",
        issuer="https://issuer.test",
        outputs=tuple(
            OutputPolicy(output.name, propagation_delay, output.includes_refresh_token) for output in outputs
        ),
        **(defaults | wants),
    )
