"""The protocols between the engine and its adapters. Adapters promise no more than these."""

import math
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

from refresher.core.effects import HOOK, MINT_SLOT, OUTPUT, VERIFY_SLOT, Slot
from refresher.core.events import Event, KeysPolled
from refresher.core.instant import Instant
from refresher.core.model import Declined, Holding, MintResult, Outcome, SecretStr, Token, Verification
from refresher.core.notifications import Notification
from refresher.core.seal import Sealer
from refresher.core.state import TokenPolicy
from refresher.lanes import Work

SERVED = "serve:"  # begins the names of outputs that the consumers' listener serves; the token's name follows


class Clock(Protocol):
    """Reads the time."""

    def now(self) -> Instant:
        """The present moment by both clocks."""


class Issuer(Protocol):
    """Mints tokens."""

    lane: str  # "issuer:https://api.inlive.app": all mints in one lane may hang together
    interval: float  # seconds from one attempt in the lane to the next; 0 without a limit

    def mint(self, key: SecretStr, lifetime: float, budget: float) -> MintResult:
        """Request one token that lives `lifetime` seconds. The whole attempt ends within `budget` seconds.

        Quick retries of brief failures (a reset connection, a 502) stay within the budget. With an `interval`
        there are none: an attempt is one request. Every failure is returned as a `Declined`; nothing is
        raised. Several threads may call this at once.
        """


class Verifier(Protocol):
    """Checks a new token before consumers use it."""

    lane: str  # "verify:https://api.inlive.app/v1/rooms"

    def verify(self, token: SecretStr, budget: float) -> Verification:
        """Use the token once, within `budget` seconds. Never raises. Several threads may call it at once."""


class KeySource(Protocol):
    """The source of a key."""

    name: str
    lane: str  # "key:/var/run/secrets/inlive": all key sources in one lane may hang together

    def read(self) -> SecretStr:
        """The present key. Cheap, because it is called every few seconds. Raises KeyUnreadableError."""


class Output(Protocol):
    """The place where a token is published. One thread at a time uses an output.

    Every implementation passes the contract suite in tests/outputs/contract.py.
    """

    name: str  # "file:/var/run/inlive/access-token"; unique within a configuration
    lane: str  # "file:/var/run/inlive": all outputs in one lane may hang together
    includes_refresh_token: bool  # whether the content includes the refresh token
    secret: tuple[str, str] | None  # namespace and name of the Secret; None for a file

    def inspect(self, now: Instant) -> Holding:
        """The present content and its record; `Holding()` if there is nothing.

        It returns recorded times as they are; the core decides whether to believe them. Raises OutputError
        if the content is unknown, and OutputOutOfSightError if only this process cannot see it.
        """

    def write(self, token: Token, now: Instant, sealer: Sealer) -> None:
        """Publish `token` in one step: a reader sees the old value or the new one, never a mixture.

        The record is sealed, and `inspect` returns the seal as proof. The new content was read back before
        this returns. Raises OutputError, and then the old value is still in place; OutputHeldError if another
        running process writes this output.
        """

    def request_refresh(self, at: float) -> None:
        """Request a token that is issued at wall time `at` or later. `inspect` returns the request, in every
        process; the newest one counts. Readers of the token see no change. Raises OutputError."""

    def has_changed(self) -> bool:
        """Whether it may have changed since `inspect` returned a holding that is `watched`. False if that was
        never so. Costs microseconds. Any thread may call this at any time. Never raises."""

    def request_seen(self) -> float | None:
        """The request that `inspect` would return, if that costs microseconds; else None. Any thread may call
        this at any time. Never raises."""

    def claim(self) -> None:
        """Prepare for writing, once at start. Remove incomplete files of a killed predecessor, now or with a
        later call of `inspect` or `write`. Keep other processes out, if the kind of output allows that.
        Raises OutputError, and OutputHeldError like `write`."""

    def release(self, wanted: Callable[[], Collection[str]]) -> bool:
        """End the use of this output, which is no longer configured. From now on other processes may write
        it, and `write` raises OutputError.

        Deletes what we wrote, and nothing else, if the settings demand it. Returns whether it did. `wanted`
        returns the names of the outputs that are configured now. Changes nothing if this one, or another one
        at the same place, is among them. Raises OutputError.
        """

    def dry_run(self) -> tuple[str, ...]:
        """Check whether a write would succeed, as far as possible without changing what readers see.

        Returns sentences about differences from the configuration. Leaves nothing behind. Cheap. Raises
        OutputError with the text of the write that would fail, and OutputHeldError only if nothing else is
        wrong.
        """


class Hook(Protocol):
    """What runs after each write of an output. One thread at a time runs it.

    A run that is owed is remembered beside the output, if the kind of output allows that, for the next
    process."""

    output: str  # the name of the output
    lane: str  # "hook:file:/var/run/inlive/access-token"

    def owe(self) -> None:
        """Remember that it is owed. Called before a write. Never raises."""

    def is_owed(self) -> bool:
        """Whether a former process left it owed."""

    def run(self) -> str:
        """Run it, within `core.hooks.RUN_TIMEOUT` seconds, and forget that it was owed. Returns a sentence
        about what it did. Raises HookError."""

    def stop(self) -> None:
        """Kill what it has started and what is still running. Later runs fail. Any thread may call this."""


# Seconds of leadership that a mint at an exclusive issuer needs. The shortest Lease, of 3 s, gives 2 s.
SHORTEST_EXCLUSIVE_MINT = 1.5
_NO_LONGER_LEADS = Declined(Outcome.TIMEOUT, "not requested: this process no longer leads")


def forever() -> float:
    return math.inf


class ManagedToken(NamedTuple):
    """One token to keep fresh: its configuration and adapters.

    `verifier`: checks new tokens, if `policy.verifies`. `time_left`: returns the seconds, from now on, for
    which this process may still act as the leader. `hooks`: of outputs that have one."""

    policy: TokenPolicy
    key: KeySource
    outputs: tuple[Output, ...]
    issuer: Issuer
    verifier: Verifier | None = None
    time_left: Callable[[], float] = forever
    hooks: tuple[Hook, ...] = ()

    def output(self, name: str) -> Output:
        return next(output for output in self.outputs if output.name == name)

    def hook(self, output: str) -> Hook | None:
        """The hook of this output; None if it has none."""
        return next((hook for hook in self.hooks if hook.output == output), None)

    def lane(self, slot: Slot) -> str:
        """The lane of the effects in this slot."""
        if slot.kind == OUTPUT:
            return self.output(slot.target).lane
        return self.adapters()[slot].lane

    def slots_in(self, lane: str) -> set[Slot]:
        """The slots of this token whose effects take this lane."""
        return {slot for slot, adapter in self.adapters().items() if adapter.lane == lane}

    def adapters(self) -> dict[Slot, Issuer | Verifier | Output | Hook]:
        """The adapter that performs the effects of each slot."""
        adapters: dict[Slot, Issuer | Verifier | Output | Hook] = {MINT_SLOT: self.issuer}
        if self.verifier is not None:
            adapters[VERIFY_SLOT] = self.verifier
        adapters |= {Slot(OUTPUT, output.name): output for output in self.outputs}
        return adapters | {Slot(HOOK, hook.output): hook for hook in self.hooks}

    def replaced_by(self, new: "ManagedToken") -> set[Slot]:
        """The slots that have another adapter in `new`. Effects in flight there are useless to it."""
        before, after = self.adapters(), new.adapters()
        return {slot for slot in before.keys() | after.keys() if before.get(slot) is not after.get(slot)}

    def continues(self, former: "ManagedToken") -> bool:
        """Whether this is the same token as `former`, which has the same name: the key or an output is the
        same. Otherwise another token has this name now, and its consumers must not get the token of `former`.
        """
        own = {output.name for output in self.outputs if not output.name.startswith(SERVED)}
        return self.key is former.key or any(output.name in own for output in former.outputs)

    def may_act(self) -> bool:
        """Whether this process leads."""
        return not self.policy.elected or self.time_left() > 0

    def may_mint(self) -> bool:
        """Whether to begin a mint now. One that ends the old token needs time to be answered."""
        least = SHORTEST_EXCLUSIVE_MINT if self.policy.exclusive else 0.0
        return not self.policy.elected or self.time_left() > least

    def mint(self, key: SecretStr) -> MintResult:
        """Request a token. An attempt that ends the old token must end before another process may lead: it
        could end the token of that process."""
        budget = self.policy.attempt_budget
        if self.policy.exclusive:
            budget = min(budget, self.time_left())
        if budget <= 0:
            return MintResult(_NO_LONGER_LEADS, Instant(0.0, 0.0), ())
        return self.issuer.mint(key, self.policy.lifetime, budget)


class Desired(NamedTuple):
    """The tokens to manage from now on, by name: an event for the engine. See `Engine.apply`."""

    tokens: Mapping[str, ManagedToken]


class Message(NamedTuple):
    """An event for the engine. `token`: the name of the token concerned; None for all tokens.

    Observers get the `notifications` before the event is applied. `work`: the effect that has ended.
    """

    token: str | None
    event: Event | KeysPolled | Desired | None
    notifications: tuple[Notification, ...] = ()
    work: Work | None = None


class Mailbox(Protocol):
    """The only queue to the engine's thread. `workers.Mailbox` implements it."""

    def post(self, message: Message) -> None:
        """Post a message. Any thread and any signal handler may call this."""

    def take(self, timeout: float) -> Message | None:
        """The next message, or None if none came within `timeout` seconds."""


class Observer(Protocol):
    """Receives notifications: logs, metrics. Called on the engine's thread, so it must not block."""

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:
        """`token`: the token's name; empty if the whole process is concerned."""


def intervals_of(managed_tokens: Iterable[ManagedToken]) -> dict[str, float]:
    """The pace of each lane that has one. The slowest counts where issuers share a lane."""
    intervals: dict[str, float] = {}
    for managed in managed_tokens:
        lane, interval = managed.issuer.lane, managed.issuer.interval
        if interval:
            intervals[lane] = max(interval, intervals.get(lane, 0.0))
    return intervals


def notify(observers: Iterable[Observer], token: str, notification: Notification, now: Instant) -> None:
    """Notify all observers. `token`: its name; empty if the whole process is concerned."""
    for observer in observers:
        try:
            observer.on_notification(token, notification, now)
        except Exception as error:  # noqa: BLE001 -- an observer's bug must not end the loop
            sys.excepthook(type(error), error, error.__traceback__)
