"""The real engine and executor in virtual time, with a fake issuer and fake keys and outputs that keep state.

    site = Site("a", "b", takes=1.0)  # two tokens, and an issuer that takes a second for an answer
    site.post(60.0, STOP)
    site.ends()
    assert site.minted("a") == 1

Nothing is random but jitter, and nothing fails unless a test makes it fail.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from refresher.core.events import Stopping
from refresher.core.instant import Instant
from refresher.core.model import (
    Declined,
    Granted,
    Holding,
    MintResult,
    Outcome,
    SecretStr,
    Token,
    Try,
)
from refresher.core.notifications import Notification, TokenMinted
from refresher.core.seal import Sealer
from refresher.core.state import OutputPolicy, State, TokenPolicy
from refresher.engine import Engine
from refresher.errors import OutputError
from refresher.executor import LIMITS, Executor
from refresher.lanes import Limit
from refresher.ports import ManagedToken, Message, Observer
from tests.simulation.issuer import KeyFile
from tests.simulation.machine import Machine, VirtualMailbox, VirtualProcess
from tests.simulation.virtual import World

HOUR = 3600.0
FOREVER = float("inf")
STOP = Message(None, Stopping())
DEFAULTS = {"lifetime": 3600.0, "refresh_at": 0.7, "timeout": 10.0, "horizon": 0.0}


@dataclass
class Issuer:
    """Mints for the keys it knows, unless it is `failing`. `takes`: seconds for any answer."""

    process: VirtualProcess
    keys: set[str]
    takes: float = 0.05
    failing: Declined | None = None
    hangs: bool = False
    asked: list[float] = field(default_factory=list)  # true time
    lane: str = "issuer:https://issuer.test"
    interval: float = 0.0

    def mint(self, key: SecretStr, lifetime: float, budget: float) -> MintResult:
        sent = self.process.machine.now()
        self.asked.append(self.process.world.now)
        self.process.sleep(FOREVER if self.hangs else self.takes)
        return MintResult(self._answer(key), sent, (Try(Outcome.OK, self.takes),))

    def _answer(self, key: SecretStr) -> Granted | Declined:
        if self.failing is not None:
            return self.failing
        if key.reveal() not in self.keys:
            return Declined(Outcome.KEY_REFUSED, "401")
        number = f"{len(self.asked)}-{self.process.world.dice.getrandbits(64):016x}"
        return Granted(SecretStr(f"token-{number}"), SecretStr(f"refresh-{number}"))


@dataclass
class Key(KeyFile):
    """Remembers when it was read."""

    reads: list[float] = field(default_factory=list)  # true time

    def read(self) -> SecretStr:
        self.reads.append(self.world.now)
        return super().read()


@dataclass
class Output:
    """Keeps its token over restarts, as a file with its record does. `takes`: seconds for each call.
    `calls`: how often it was inspected or written."""

    process: VirtualProcess
    name: str
    lane: str = "file:"
    content: Token | None = None
    takes: float = 0.0
    broken: bool = False
    hangs: bool = False
    calls: int = 0
    written: list[tuple[float, str]] = field(default_factory=list)  # true time, fingerprint of the token
    includes_refresh_token: bool = False
    requested: float | None = None
    watched: bool = False
    altered: bool = False  # since the last inspection, if it is watched
    released: list[float] = field(default_factory=list)  # true time
    secret: tuple[str, str] | None = None

    def inspect(self, now: Instant) -> Holding:
        self._call()
        self.altered = False
        if self.content is None:
            return Holding()
        return Holding(self.content.facts, self.content, intact=True, watched=self.watched)

    def write(self, token: Token, now: Instant, sealer: Sealer) -> None:
        self._call()
        self.content = token
        self.written.append((self.process.world.now, token.facts.fingerprint))

    def has_changed(self) -> bool:
        return self.altered

    def request_seen(self) -> float | None:
        return self.requested

    def claim(self) -> None:
        """Nobody else writes here."""

    def release(self, wanted: Callable[[], Collection[str]]) -> bool:
        self.released.append(self.process.world.now)
        return False

    def dry_run(self) -> tuple[str, ...]:
        self._call()
        return ()

    def _call(self) -> None:
        self.calls += 1
        if self.hangs or self.takes:
            self.process.sleep(FOREVER if self.hangs else self.takes)
        if self.broken:
            raise OutputError(f"{self.name}: read-only file system")


@dataclass
class Memory:
    """An observer that remembers which notifications came when (boot seconds), and about which token."""

    entries: list[tuple[float, str, Notification]] = field(default_factory=list)

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:
        self.entries.append((now.boot, token, notification))

    def of(self, kind: type, token: str | None = None) -> list[tuple[float, Notification]]:
        return [
            (at, each) for at, name, each in self.entries if isinstance(each, kind) and token in (None, name)
        ]


class Mailbox(VirtualMailbox):
    """Remembers the time-outs with which it was waited for."""

    def __init__(self, process: VirtualProcess) -> None:
        super().__init__(process)
        self.sleeps: list[float] = []

    def take(self, timeout: float) -> Message | None:
        self.sleeps.append(timeout)
        return super().take(timeout)


class Site:
    """One process that keeps the tokens `names` fresh, each with its own key and output.

    `hanging`: see `hang`. `wants`: fields of the tokens' policies. `after`: an earlier site; this one goes on
    in its world. Change what you like before the process runs; it runs once.
    """

    def __init__(
        self,
        *names: str,
        takes: float = 0.05,
        hanging: Iterable[str] = (),
        after: "Site | None" = None,
        **wants: float,
    ) -> None:
        self.world = after.world if after else World(seed=1)
        self.machine = after.machine if after else Machine(self.world)
        self.process = VirtualProcess(self.world, self.machine)
        self.mailbox = self.process.mailbox = Mailbox(self.process)
        self.began = self.world.now
        self.issuer = Issuer(self.process, {"key"}, takes)
        self.memory = Memory()
        self.observers: list[Observer] = [self.memory]
        self.held: dict[str, set[str]] = {}  # the secrets that the engine has us hold, by token
        self.mints_at_once, self.leads = 16, True
        self.keys = {name: Key(self.world, "key", f"key of {name}") for name in names}
        self.outputs = {name: self.output(f"output of {name}", lane=f"file:{name}") for name in names}
        self.managed_tokens: dict[str, ManagedToken] = {}
        for name in names:
            self.give(name, self.outputs[name], **wants)
        self.hang(*hanging)

    def output(self, name: str, **wants: object) -> Output:
        return Output(self.process, name, **wants)

    def give(self, name: str, *outputs: Output, **wants: float) -> None:
        """Publish the token `name` in these outputs."""
        policies = tuple(OutputPolicy(each.name, 0.0, each.includes_refresh_token) for each in outputs)
        policy = TokenPolicy(name, issuer="https://issuer.test", outputs=policies, **(DEFAULTS | wants))
        self.managed_tokens[name] = ManagedToken(
            policy, self.keys[name], outputs, self.issuer, time_left=lambda: 10.0 if self.leads else 0.0
        )

    def hang(self, *where: str) -> None:
        """From now on calls of these parts never return, and calls of all others do. `where`: "issuer",
        "keys", an output's name, or "threads", which the system then refuses."""
        self.process.threads_refused = "threads" in where
        self.issuer.hangs = "issuer" in where
        for key in self.keys.values():
            key.hangs_until = FOREVER if "keys" in where else 0.0
        for output in self.outputs.values():
            output.hangs = output.name in where

    def at(self, seconds: float, happening: Callable[[], None]) -> None:
        """Have something happen so many seconds after the start."""
        self.world.at(self.began + seconds, happening)

    def post(self, seconds: float, message: Message) -> None:
        self.at(seconds, lambda: self.mailbox.post(message))

    @cached_property
    def engine(self) -> Engine:
        """Made of the tokens as they are when it is first asked for."""
        mints = Limit(self.mints_at_once, 2 * self.mints_at_once)
        return Engine(
            self.managed_tokens.values(),
            executor=Executor(self.machine, self.mailbox, self.process.workers, self.world.dice.random),
            clock=self.machine,
            mailbox=self.mailbox,
            observers=self.observers,
            limits={**LIMITS, "issuer": mints},
            hold=lambda token, secrets: self.held.update({token: {each.reveal() for each in secrets}}),
        )

    def runs(self, seconds: float) -> "Site":
        """Run it for so long, then kill it."""
        self.process.spawn(self.engine.run)
        self.world.run(self.began + seconds)
        self._kill()
        return self

    def ends(self) -> "Site":
        """Run it until it ends by itself."""
        return self._finish(self.engine.run)

    def settles(self) -> "Site":
        """Run ``refresher once``."""
        return self._finish(self.engine.settle)

    def _finish(self, work: Callable[[], None]) -> "Site":
        self.world.run_until_ended(self.process.spawn(work))
        self._kill()
        return self

    def _kill(self) -> None:
        """End its strands, at this very moment."""
        self.process.kill()
        self.world.run(self.world.now)

    @property
    def passed(self) -> float:
        """Seconds since the beginning."""
        return self.world.now - self.began

    @property
    def states(self) -> dict[str, State]:
        return {policy.name: state for policy, state in self.engine.view()}

    def minted(self, name: str) -> int:
        return len(self.memory.of(TokenMinted, name))
