"""Values, and a driver on a virtual clock, for tests of the core as short stories."""

from refresher.core.effects import MINT_SLOT, Action, DryRun, Inspect, Mint, Wait, Write
from refresher.core.events import (
    DryRunPassed,
    Event,
    Found,
    KeyRead,
    Minted,
    MintFailed,
    Started,
    Written,
)
from refresher.core.instant import Instant
from refresher.core.machine import next_step, observe
from refresher.core.model import Declined, Holding, Outcome, SecretStr, Token, TokenFacts
from refresher.core.notifications import Notification
from refresher.core.seal import Sealer
from refresher.core.state import OutputPolicy, State, TokenPolicy

NOW = Instant(wall=1_800_000_000.0, boot=5_000.0)
KEY, NEW_KEY = SecretStr("key-1"), SecretStr("key-2")
ISSUER_URL, OTHER_ISSUER_URL = "https://api.inlive.app", "https://test.inlive.app"
DAY = 86400.0

UNREACHABLE = Declined(Outcome.UNREACHABLE, "connection refused")
SERVER_ERROR = Declined(Outcome.SERVER_ERROR, "the issuer answered 500")
KEY_REFUSED = Declined(Outcome.KEY_REFUSED, "the issuer answered 403")


def throttled(retry_after: float | None) -> Declined:
    return Declined(Outcome.THROTTLED, "the issuer answered 429", retry_after)


def token(
    number: int = 1,
    *,
    age: float = 0.0,
    lifetime: float = 3600.0,
    requested: float | None = None,
    key: SecretStr = KEY,
    refresh: str | None = "refresh",
    issuer: str = ISSUER_URL,
) -> Token:
    """A token issued `age` seconds before NOW. Its fingerprint is so small that it has no jitter: a token of
    an hour is due after exactly 42 minutes (2520 s)."""
    facts = TokenFacts(
        issued=NOW + -age,
        lifetime=lifetime,
        requested=lifetime if requested is None else requested,
        key_fingerprint=key.fingerprint,
        fingerprint=f"{number:016x}",
        has_refresh_token=refresh is not None,
        issuer=issuer,
    )
    return Token(facts, SecretStr(f"access-{number}"), SecretStr(f"{refresh}-{number}") if refresh else None)


def held(token: Token, *, intact: bool = True) -> Holding:
    """The holding of an output after `token` was written to it."""
    return Holding(token.facts, token, intact)


def held_opaquely(token: Token) -> Holding:
    """The same for a template: the value cannot be read back."""
    return Holding(token.facts, None, intact=True)


def held_without_refresh(token: Token) -> Holding:
    """The same for a format without the refresh token."""
    return Holding(token.facts, Token(token.facts, token.access), intact=True)


def write(output: str, token: Token, reason: str) -> Write:
    """The effect that publishes `token`, sealed with the key that minted it."""
    key = next(key for key in (KEY, NEW_KEY) if key.fingerprint == token.facts.key_fingerprint)
    return Write(output, token, reason, Sealer(key))


def output(
    name: str = "file", *, propagation_delay: float = 0.0, includes_refresh_token: bool = False
) -> OutputPolicy:
    return OutputPolicy(name, propagation_delay, includes_refresh_token)


def policy(*outputs: OutputPolicy, **settings: float) -> TokenPolicy:
    defaults = {"lifetime": 3600.0, "refresh_at": 0.7, "timeout": 10.0}
    return TokenPolicy("studio", issuer=ISSUER_URL, outputs=outputs or (output(),), **(defaults | settings))


def _without_series(notification: Notification) -> Notification:
    """tests/logs/test_status_facts.py checks the series."""
    return notification._replace(series=None) if hasattr(notification, "series") else notification


class Driver:
    """Drives the machine of one token. `contents`: what the outputs hold.

    Dry runs succeed at once and are not returned as steps, unless a test sets `plays_dry_runs`.
    """

    plays_dry_runs = False

    def __init__(self, token_policy: TokenPolicy | None = None, *found: Holding) -> None:
        self.policy = token_policy or policy()
        self.state = State.initial(self.policy)
        self.now = NOW
        self.wait = Wait(0.0, "not asked yet")
        self.notifications: list[Notification] = []
        names = [each.name for each in self.policy.outputs]
        self.contents = dict.fromkeys(names, Holding()) | dict(zip(names, found, strict=False))

    @property
    def minting(self) -> Mint | None:
        """The mint in flight."""
        flight = self.state.flight(MINT_SLOT)
        return flight.effect if flight else None

    def observe(self, event: Event) -> list[Notification]:
        """Let `event` happen. Returns its notifications, without the series of failures."""
        self.state, self.complete = observe(self.state, self.policy, event, self.now)
        notifications = [_without_series(notification) for notification in self.complete]
        self.notifications.extend(notifications)
        return notifications

    def steps(self) -> list[Action]:
        """Begin all steps that are due now, and return them."""
        taken: list[Action] = []
        while not isinstance(step := next_step(self.state, self.policy, self.now), Wait):
            self.observe(Started(step))
            if isinstance(step, DryRun) and not self.plays_dry_runs:
                self.observe(DryRunPassed(step.output))
                continue
            taken.append(step)
            assert len(taken) < 20 + 2 * len(self.state.outputs), f"does not come to rest: {taken[-3:]}"
        self.wait = step
        return taken

    def perform(self, steps: list[Action]) -> None:
        """Let the writes and inspections among `steps` succeed. Leave a mint in flight."""
        for step in steps:
            if isinstance(step, Write):
                self.contents[step.output] = held(step.token)
                self.observe(Written(step.output, step.token))
            elif isinstance(step, Inspect):
                self.observe(Found(step.output, self.contents[step.output]))

    def begin(self, key: SecretStr = KEY) -> list[Action]:
        """Start the process: read the key, inspect the outputs. Returns the next steps."""
        self.observe(KeyRead(key))
        self.perform(self.steps())
        return self.steps()

    def minted(self, token: Token, key: SecretStr = KEY) -> list[Action]:
        """Let the mint in flight return `token`. Returns the next steps."""
        self.observe(Minted(key, token, roll=1.0))
        return self.steps()

    def declined(self, why: Declined, key: SecretStr = KEY, roll: float = 1.0) -> list[Notification]:
        """Let the mint in flight fail. Returns the notifications."""
        return self.observe(MintFailed(key, why, roll))

    def passes(self, seconds: float, *, wall: float | None = None) -> None:
        """Let time pass. `wall`: by how much the wall clock advances, if it differs."""
        self.now = Instant(self.now.wall + (seconds if wall is None else wall), self.now.boot + seconds)

    def until(self, kind: type[Action]) -> tuple[float, Action]:
        """Let time pass, with all effects succeeding, until a step of this kind begins. Returns the seconds
        passed and the step."""
        began = self.now.boot
        while self.now.boot - began < 2 * DAY:
            steps = self.steps()
            self.perform([step for step in steps if not isinstance(step, kind)])
            for step in steps:
                if isinstance(step, kind):
                    return round(self.now.boot - began, 3), step
            if not steps:
                self.passes(min(self.wait.until - self.now.boot, DAY))
        raise AssertionError(f"no {kind.__name__} within two days; waiting for {self.wait}")


def at_work(token_policy: TokenPolicy | None = None, *, first: Token | None = None) -> Driver:
    """A driver that has just minted its first token and written it to every output."""
    driver = Driver(token_policy)
    driver.begin()
    driver.perform(driver.minted(first or token(1)))
    assert driver.steps() == []
    return driver


def mint_of(steps: list[Action]) -> Mint:
    """The mint among `steps`."""
    (mint,) = [step for step in steps if isinstance(step, Mint)]
    return mint
