"""What the machine knows about one token, and the policy it follows. Frozen values, nothing else."""

from collections.abc import Collection
from typing import Generic, NamedTuple, Self, TypeVar

from refresher.core.effects import MINT_SLOT, OUTPUT, Effect, Mint, Slot
from refresher.core.events import Minted
from refresher.core.instant import Instant
from refresher.core.model import Declined, Holding, Reason, SecretStr, Token, TokenFacts
from refresher.core.values import distinct

NEVER = float("-inf")

Problem = TypeVar("Problem")


@distinct
class OutputPolicy(NamedTuple):
    """`propagation_delay`: the longest, in seconds, that its consumers take to see a new value."""

    name: str
    propagation_delay: float
    includes_refresh_token: bool


@distinct
class TokenPolicy(NamedTuple):
    """What the operator wants for one token. Seconds; `refresh_at` is a fraction of the lifetime; `issuer` is
    the base URL of the issuer that mints it.

    `horizon`: what would come due within it is minted now (``once --every``). `elected`: this process mints
    and writes only while it is the elected leader. `verifies`: a new token is tried out before it is
    published.
    """

    name: str
    lifetime: float
    refresh_at: float
    timeout: float
    issuer: str
    outputs: tuple[OutputPolicy, ...]
    horizon: float = 0.0
    elected: bool = False
    verifies: bool = False

    @property
    def propagation_delay(self) -> float:
        """The longest of its outputs' propagation delays."""
        return max(output.propagation_delay for output in self.outputs)


@distinct
class Retry(NamedTuple, Generic[Problem]):
    """How something fares that may fail and is tried again.

    `failures`: in a row. `next_try`: boot seconds; not before. `problem`: of the last try, None if it
    succeeded.
    """

    failures: int = 0
    next_try: float = NEVER
    problem: Problem | None = None

    def failed(self, problem: Problem, next_try: float) -> "Retry[Problem]":
        """After one more failure."""
        return Retry(self.failures + 1, next_try, problem)


@distinct
class Credential(NamedTuple):
    """A key and how minting with it fares.

    `is_refused`: the issuer's last word on the key itself was no. A failure that says nothing about the key
    does not change that.
    """

    key: SecretStr
    retry: Retry[Declined] = Retry()
    is_refused: bool = False


@distinct
class OutputState(NamedTuple):
    """One output as last seen. Times are boot seconds.

    `holding`: what it held at the last inspection; None before the first one. `published`: the fingerprint of
    the token last written or adopted there. `writes`: how writing fares. `reads`: how inspecting fares; its
    failures are those that could not reach the output. `writable`: the last write or dry run succeeded.
    `forged`: its record names our key but does not carry its seal. `held`: the other process that owns it;
    empty if there is none.
    """

    name: str
    holding: Holding | None = None
    published: str | None = None
    looked_at: float = NEVER
    writes: Retry[str] = Retry()
    reads: Retry[str] = Retry()
    writable: bool = False
    forged: bool = False
    held: str = ""

    @property
    def slot(self) -> Slot:
        """Of the steps on this output."""
        return Slot(OUTPUT, self.name)

    @property
    def facts(self) -> TokenFacts | None:
        """Of the token that it is believed to hold; None where it holds none whose end is known."""
        return self.holding.facts if self.holding else None

    def is_without(self, now: Instant) -> bool:
        """Whether it is known to hold no valid token."""
        return self.holding is not None and self.holding.remaining(now) <= 0

    @property
    def problem(self) -> str | None:
        """Why it cannot be written, or else why it cannot be read; None if it can."""
        return self.writes.problem or self.held or self.reads.problem


@distinct
class InFlight(NamedTuple):
    """An effect in flight, and since when (boot seconds)."""

    effect: Effect
    since: float


@distinct
class Trial(NamedTuple):
    """A new token that is tried out before it is published, until boot second `until`."""

    minted: Minted
    reason: Reason
    until: float


@distinct
class State(NamedTuple):
    """All that is known about one token.

    `proven`: the key that has minted or whose token was adopted. `candidate`: a newer key not proven yet.
    `facts` and `token`: the token to publish; an adopted one may lack its value. `minted_here`: this process
    minted it. `in_flight`: the effects that have not ended. `trial`: the token that is being tried out.
    `requested_reason`: why a refresh was requested, if one was; `requested_during_mint`: the
    request came while a mint was in flight.
    `observed_lifetime`: the shortest time, in seconds, after which a token was reported expired too early.
    `leads`: whether this process mints and writes; `leads_since`: when (boot seconds) leadership was gained.
    Anything observed earlier may be stale. `unserved_since`: since when (boot seconds) an output holds no
    valid token while this process stands by; `alarmed`: that was reported.
    """

    outputs: tuple[OutputState, ...]
    proven: Credential | None = None
    candidate: Credential | None = None
    key_problem: str | None = None
    facts: TokenFacts | None = None
    token: Token | None = None
    minted_here: bool = False
    in_flight: tuple[InFlight, ...] = ()
    trial: Trial | None = None
    requested_reason: Reason | None = None
    requested_during_mint: bool = False
    observed_lifetime: float | None = None
    stopping: bool = False
    leads: bool = True
    leads_since: float = NEVER
    unserved_since: float | None = None
    alarmed: bool = False

    @classmethod
    def initial(cls, policy: TokenPolicy) -> Self:
        """Knowing nothing yet."""
        return cls(tuple(OutputState(output.name) for output in policy.outputs), leads=not policy.elected)

    @property
    def newest(self) -> Credential | None:
        """The key that the source held last."""
        return self.candidate or self.proven

    def key_of(self, facts: TokenFacts) -> SecretStr | None:
        """The key with which that token was minted, if it is one of ours."""
        held = (credential.key for credential in (self.candidate, self.proven) if credential is not None)
        return next((key for key in held if key.fingerprint == facts.key_fingerprint), None)

    def has_output(self, name: str) -> bool:
        return any(output.name == name for output in self.outputs)

    def output(self, name: str) -> OutputState:
        return next(output for output in self.outputs if output.name == name)

    def with_output(self, output: OutputState) -> Self:
        """The state with this one in the place of the output of its name."""
        outputs = tuple(output if known.name == output.name else known for known in self.outputs)
        return self._replace(outputs=outputs)

    def awaits_another(self, now: Instant) -> bool:
        """Whether another process owns an output and has not published a valid token there yet."""
        return any(output.held and output.is_without(now) for output in self.outputs)

    def flight(self, slot: Slot) -> InFlight | None:
        """The effect in flight in this slot."""
        for each in self.in_flight:
            if each.effect.slot == slot:
                return each
        return None

    def busy_since(self, output: OutputState) -> float | None:
        """When (boot seconds) the step in flight on this output began; None if there is none."""
        flight = self.flight(output.slot)
        return flight.since if flight else None

    def with_flight(self, effect: Effect, now: Instant) -> Self:
        """The state after `effect` has begun."""
        return self._replace(in_flight=(*self.in_flight, InFlight(effect, now.boot)))

    def without_flights(self, slots: Collection[Slot]) -> Self:
        """The state in which these slots are free."""
        if not any(each.effect.slot in slots for each in self.in_flight):
            return self
        return self._replace(
            in_flight=tuple(each for each in self.in_flight if each.effect.slot not in slots)
        )

    @property
    def minting(self) -> Mint | None:
        """The mint in flight."""
        flight = self.flight(MINT_SLOT)
        return flight.effect if flight and isinstance(flight.effect, Mint) else None

    @property
    def is_minting(self) -> bool:
        """Whether a mint is in flight, or its token is being tried out."""
        return self.trial is not None or self.flight(MINT_SLOT) is not None

    @property
    def is_busy(self) -> bool:
        """Whether anything is in flight."""
        return bool(self.in_flight) or self.trial is not None
