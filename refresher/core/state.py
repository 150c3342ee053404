"""The state of one token and its policy, as frozen values."""

from collections.abc import Callable, Collection, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, Self, TypeVar

from refresher.core import schedule
from refresher.core.effects import MINT_SLOT, OUTPUT, Effect, Slot
from refresher.core.events import Minted
from refresher.core.instant import Instant
from refresher.core.model import Declined, Holding, Reason, SecretStr, Token, TokenFacts
from refresher.core.notifications import Series
from refresher.core.values import distinct

NEVER = float("-inf")

Problem = TypeVar("Problem")


@distinct
class OutputPolicy(NamedTuple):
    """`propagation_delay`: the longest time, in seconds, until consumers see a new value. `has_hook`: run a
    hook after each write."""

    name: str
    propagation_delay: float
    includes_refresh_token: bool
    has_hook: bool = False


_DELAY: Callable[[OutputPolicy], float] = attrgetter("propagation_delay")


@distinct
class TokenPolicy(NamedTuple):
    """The configuration of one token. Times are seconds. `refresh_at`: a fraction of the lifetime. `issuer`:
    the issuer's base URL.

    `horizon`: mint now if the token becomes due within this time (``once --every``). `elected`: mint and
    write only while this process is the elected leader. `verifies`: check a new token before publishing it.
    `exclusive`: a new token ends the old one (core/exclusive.py).
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
    exclusive: bool = False

    def has_hook(self, output: str) -> bool:
        """Whether a hook runs after each write of this output."""
        return any(known.has_hook for known in self.outputs if known.name == output)

    @property
    def propagation_delay(self) -> float:
        """The longest propagation delay of all outputs."""
        if len(self.outputs) == 1:  # nearly always; scrapes ask for every token
            return self.outputs[0].propagation_delay
        return max(map(_DELAY, self.outputs))

    @property
    def attempt_budget(self) -> float:
        """How long one attempt to mint may take (`schedule.attempt_budget`)."""
        return schedule.attempt_budget(self.timeout, self.lifetime)

    @property
    def headroom(self) -> float:
        """The longest outage of the issuer that consumers do not notice (`schedule.headroom`)."""
        return schedule.headroom(self.lifetime, self.refresh_at, self.propagation_delay, self.timeout)


@distinct
class Retry(NamedTuple, Generic[Problem]):
    """The progress of something that may fail and is tried again. Times are boot seconds.

    `failures`: the number in a row. `next_try`: the earliest time. `problem`: of the last try; None if it
    succeeded. `since`: when the first of these failures happened; None without one.
    """

    failures: int = 0
    next_try: float = NEVER
    problem: Problem | None = None
    since: float | None = None

    def failed(self, problem: Problem, next_try: float, at: float) -> "Retry[Problem]":
        """After one more failure, which happened `at`."""
        return Retry(self.failures + 1, next_try, problem, at if self.since is None else self.since)

    @property
    def series(self) -> Series | None:
        """The failures in a row; None without one."""
        return None if self.since is None else Series(self.since, self.failures or None)


NO_FAILURES: Retry[Any] = Retry()  # one object in all states, so that ten thousand tokens take less memory


@distinct
class Credential(NamedTuple):
    """A key and the progress of minting with it.

    `is_refused`: the issuer refused the key and has not accepted it since. Other failures do not change that.
    """

    key: SecretStr
    retry: Retry[Declined] = NO_FAILURES
    is_refused: bool = False


@distinct
class HookState(NamedTuple):
    """The progress of an output's hook. `writes`: how many writes call for it. `settled`: the number of the
    last of them after which it succeeded. `runs`: the progress of running it after the last write."""

    writes: int = 0
    settled: int = 0
    runs: Retry[str] = NO_FAILURES

    @property
    def is_owed(self) -> bool:
        """Whether it has not succeeded since the last write."""
        return self.settled < self.writes

    def owed_again(self) -> "HookState":
        """After one more write. It replaces a run that was still owed."""
        return HookState(self.writes + 1, self.settled)


@distinct
class OutputState(NamedTuple):
    """One output as last seen. Times are boot seconds.

    `holding`: its content at the last inspection; None before the first one. `published`: the fingerprint of
    the token last written or adopted there. `writes`: the progress of writing. `reads`: the progress of
    inspecting; it counts only failures to reach the output. `writable`: the last write or dry run succeeded.
    `rehearsed_at`: when a dry run last succeeded, if no write followed.
    `forged`: its record names our key but lacks the seal. `held`: a sentence about the other process that
    owns it; empty if none does. `hook`: the progress of its hook, if it has one. `refresh_requested`: see
    `Holding`; `refresh_fulfilled`: the last such request that a token fulfilled, so that it stays fulfilled
    if the wall clock is set back.
    """

    name: str
    holding: Holding | None = None
    published: str | None = None
    inspected_at: float = NEVER
    writes: Retry[str] = NO_FAILURES
    reads: Retry[str] = NO_FAILURES
    writable: bool = False
    rehearsed_at: float = NEVER
    forged: bool = False
    held: str = ""
    hook: HookState = HookState()
    refresh_requested: float | None = None
    refresh_fulfilled: float | None = None

    @property
    def slot(self) -> Slot:
        """The slot of all effects on this output."""
        return Slot(OUTPUT, self.name)

    @property
    def facts(self) -> TokenFacts | None:
        """Facts about its token; None if it holds no token with a known expiry."""
        return self.holding.facts if self.holding else None

    def is_without(self, now: Instant) -> bool:
        """Whether it is known to hold no valid token."""
        return self.holding is not None and self.holding.remaining(now) <= 0

    @property
    def problem(self) -> str | None:
        """Why it cannot be written, or else why it cannot be read; None without a problem."""
        return self.writes.problem or self.held or self.reads.problem


@distinct
class InFlight(NamedTuple):
    """An effect in flight, and since when (boot seconds)."""

    effect: Effect
    since: float


NO_FLIGHTS: Mapping[Slot, InFlight] = MappingProxyType({})  # one object, as above


@distinct
class Trial(NamedTuple):
    """A new token that is checked before it is published, until boot second `until`."""

    minted: Minted
    reason: Reason
    until: float


@distinct
class State(NamedTuple):
    """All that is known about one token. Times are boot seconds.

    `proven`: the last key that minted a token, or whose token was adopted. `candidate`: a newer key, not
    proven yet. `key_reads`: the progress of reading the key; it counts only changes of the problem.
    `facts`, `token`: the token in hand; the value of an adopted one may be unknown.
    `minted_here`: this process minted it. `in_flight`: the effects that have not ended. `trial`: the token
    being checked.
    `requested_reason`: why a refresh was requested, if it was. `requested_during_mint`: the request came
    while a mint was in flight. `observed_lifetime`: the shortest time, in seconds, after which a token was
    reported expired too early. `leads`: this process mints and writes. `leads_since`: when leadership was
    gained; anything observed earlier may be stale. `unserved_since`: since when an output holds no valid
    token while this process stands by. `alarmed`: that was reported.
    """

    outputs: tuple[OutputState, ...]
    proven: Credential | None = None
    candidate: Credential | None = None
    key_reads: Retry[str] = NO_FAILURES
    facts: TokenFacts | None = None
    token: Token | None = None
    minted_here: bool = False
    in_flight: Mapping[Slot, InFlight] = NO_FLIGHTS
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
        """The state at the start, when nothing is known."""
        return cls(tuple(OutputState(output.name) for output in policy.outputs), leads=not policy.elected)

    @property
    def key_problem(self) -> str | None:
        """Why the source of the key is unreadable now; None if it is readable."""
        return self.key_reads.problem

    @property
    def newest(self) -> Credential | None:
        """The key that was read last."""
        return self.candidate or self.proven

    def key_of(self, facts: TokenFacts) -> SecretStr | None:
        """The key that minted the token with these facts; None if we do not have it."""
        keys = (credential.key for credential in (self.candidate, self.proven) if credential is not None)
        return next((key for key in keys if key.fingerprint == facts.key_fingerprint), None)

    def has_output(self, name: str) -> bool:
        return any(output.name == name for output in self.outputs)

    def output(self, name: str) -> OutputState:
        return next(output for output in self.outputs if output.name == name)

    def with_output(self, output: OutputState) -> Self:
        """The state with `output` instead of the output of the same name."""
        outputs = tuple(output if known.name == output.name else known for known in self.outputs)
        return self._replace(outputs=outputs)

    def awaits_another(self, now: Instant) -> bool:
        """Whether another process owns an output and has not published a valid token there yet."""
        return any(output.held and output.is_without(now) for output in self.outputs)

    def flight(self, slot: Slot) -> InFlight | None:
        """The effect in flight in this slot."""
        return self.in_flight.get(slot)

    def busy_since(self, output: OutputState) -> float | None:
        """When (boot seconds) the effect in flight on this output began; None without one."""
        flight = self.flight(output.slot)
        return flight.since if flight else None

    def with_flight(self, effect: Effect, now: Instant) -> Self:
        """The state after `effect` has begun."""
        return self._replace(in_flight={**self.in_flight, effect.slot: InFlight(effect, now.boot)})

    def without_flights(self, slots: Collection[Slot]) -> Self:
        """The state with these slots free."""
        if not any(slot in self.in_flight for slot in slots):
            return self
        left = {slot: flight for slot, flight in self.in_flight.items() if slot not in slots}
        return self._replace(in_flight=left or NO_FLIGHTS)

    @property
    def is_minting(self) -> bool:
        """Whether a mint or a trial is in flight."""
        return self.trial is not None or self.flight(MINT_SLOT) is not None

    @property
    def is_busy(self) -> bool:
        """Whether anything is in flight."""
        return bool(self.in_flight) or self.trial is not None
