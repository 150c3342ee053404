"""Values, and a driver on a virtual clock, with which the rules of the core are told as short stories."""

from refresher.core.effects import Action, DryRun, Inspect, Mint, Wait, Write
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
    """A token issued `age` seconds before NOW. Its fingerprint is so small that it has no jitter: one of an
    hour is due after 42 minutes (2520 s) sharp."""
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


def held(what: Token, *, intact: bool = True) -> Holding:
    """What an output is found to hold that `what` was written to."""
    return Holding(what.facts, what, intact)


def held_opaquely(what: Token) -> Holding:
    """The same of a template: its value cannot be read back."""
    return Holding(what.facts, None, intact=True)


def held_without_refresh(what: Token) -> Holding:
    """The same of a format that leaves the refresh token out."""
    return Holding(what.facts, Token(what.facts, what.access), intact=True)


def write(output: str, what: Token, reason: str) -> Write:
    """The step that publishes `what`, sealed with the key that it was minted with."""
    key = next(key for key in (KEY, NEW_KEY) if key.fingerprint == what.facts.key_fingerprint)
    return Write(output, what, reason, Sealer(key))


def output(
    name: str = "file", *, propagation_delay: float = 0.0, includes_refresh_token: bool = False
) -> OutputPolicy:
    return OutputPolicy(name, propagation_delay, includes_refresh_token)


def policy(*outputs: OutputPolicy, **wants: float) -> TokenPolicy:
    defaults = {"lifetime": 3600.0, "refresh_at": 0.7, "timeout": 10.0}
    return TokenPolicy("studio", issuer=ISSUER_URL, outputs=outputs or (output(),), **(defaults | wants))


class Driver:
    """One token's machine: tell it what happened, ask what it does. `contents` is what the outputs hold.

    Dry runs succeed at once and are not reported, unless a test sets `plays_dry_runs`.
    """

    plays_dry_runs = False

    def __init__(self, wants: TokenPolicy | None = None, *found: Holding) -> None:
        self.policy = wants or policy()
        self.state = State.initial(self.policy)
        self.now = NOW
        self.wait = Wait(0.0, "not asked yet")
        self.said: list[Notification] = []
        names = [each.name for each in self.policy.outputs]
        self.contents = dict.fromkeys(names, Holding()) | dict(zip(names, found, strict=False))

    def tell(self, event: Event) -> list[Notification]:
        """Let `event` happen; returns what observers are told of it."""
        self.state, said = observe(self.state, self.policy, event, self.now)
        self.said.extend(said)
        return list(said)

    def steps(self) -> list[Action]:
        """Take up whatever is to be done now, until nothing is; returns what that was."""
        taken: list[Action] = []
        while not isinstance(step := next_step(self.state, self.policy, self.now), Wait):
            self.tell(Started(step))
            if isinstance(step, DryRun) and not self.plays_dry_runs:
                self.tell(DryRunPassed(step.output))
                continue
            taken.append(step)
            assert len(taken) < 20, f"does not come to rest: {taken[-3:]}"
        self.wait = step
        return taken

    def perform(self, steps: list[Action]) -> None:
        """Let the writes and inspections among `steps` go well. A mint is left in flight."""
        for step in steps:
            if isinstance(step, Write):
                self.contents[step.output] = held(step.token)
                self.tell(Written(step.output, step.token))
            elif isinstance(step, Inspect):
                self.tell(Found(step.output, self.contents[step.output]))

    def begin(self, key: SecretStr = KEY) -> list[Action]:
        """The process starts: the key is read, the outputs are looked at; returns what is done about it."""
        self.tell(KeyRead(key))
        self.perform(self.steps())
        return self.steps()

    def minted(self, what: Token, key: SecretStr = KEY) -> list[Action]:
        """The mint in flight gives `what`; returns what is done about it."""
        self.tell(Minted(key, what, roll=1.0))
        return self.steps()

    def declined(self, why: Declined, key: SecretStr = KEY, roll: float = 1.0) -> list[Notification]:
        """The mint in flight fails."""
        return self.tell(MintFailed(key, why, roll))

    def passes(self, seconds: float, *, wall: float | None = None) -> None:
        """Let time pass; `wall`: what the wall clock makes of it."""
        self.now = Instant(self.now.wall + (seconds if wall is None else wall), self.now.boot + seconds)

    def until(self, kind: type[Action]) -> tuple[float, Action]:
        """Let time pass, with all going well, until such a step is taken up: after how long, and which."""
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


def at_work(wants: TokenPolicy | None = None, *, first: Token | None = None) -> Driver:
    """A driver that has just minted its first token and written it to every output."""
    driver = Driver(wants)
    driver.begin()
    driver.perform(driver.minted(first or token(1)))
    assert driver.steps() == []
    return driver


def mint_of(steps: list[Action]) -> Mint:
    """The mint among `steps`."""
    (mint,) = [step for step in steps if isinstance(step, Mint)]
    return mint
