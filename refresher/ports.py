"""What the engine needs of the world outside, as protocols. Adapters promise what stands here and no more."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from refresher.core.effects import MINT_SLOT, OUTPUT, VERIFY_SLOT, Slot
from refresher.core.events import Event, KeysPolled
from refresher.core.instant import Instant
from refresher.core.model import Holding, MintResult, SecretStr, Token, Verification
from refresher.core.notifications import Notification
from refresher.core.seal import Sealer
from refresher.core.state import TokenPolicy
from refresher.lanes import Work


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> Instant:
        """The present moment by both clocks."""


class Issuer(Protocol):
    """Who mints tokens."""

    lane: str  # "issuer:https://api.inlive.app": mints of one lane hang together, if they hang

    def mint(self, key: SecretStr, lifetime: float, budget: float) -> MintResult:
        """Ask for one token that lives `lifetime` seconds; the whole attempt ends within `budget` seconds.

        Quick retries of what passes by itself (a reset connection, a 502) stay inside the budget. Whatever
        goes wrong comes back as a `Declined`; nothing is raised. Called from several threads at once.
        """


class Verifier(Protocol):
    """Who tries a new token out before consumers do."""

    lane: str  # "verify:https://api.inlive.app/v1/rooms"

    def verify(self, token: SecretStr, budget: float) -> Verification:
        """Use it once, within `budget` seconds. Nothing is raised. Called from several threads at once."""


class KeySource(Protocol):
    """Where an application key is read from."""

    name: str
    lane: str  # "key:/var/run/secrets/inlive": key sources of one lane hang together

    def read(self) -> SecretStr:
        """The key as it is now. Cheap: called every few seconds. Raises KeyUnreadableError."""


class Output(Protocol):
    """Where a token is published. One thread at a time uses an output.

    Every implementation passes the contract suite in tests/outputs/contract.py.
    """

    name: str  # "file:/var/run/inlive/access-token"; unique within a configuration
    lane: str  # "file:/var/run/inlive": outputs of one lane hang together, if they hang
    includes_refresh_token: bool  # whether what it writes holds the refresh token
    secret: tuple[str, str] | None  # namespace and name of the Secret; None for a file

    def inspect(self, now: Instant) -> Holding:
        """What it holds now, as recorded when it was written; `Holding()` where there is nothing.

        Whether the times recorded are to be believed is not decided here. Raises OutputError if what it holds
        cannot be told, and OutputOutOfSightError if only from here.
        """

    def write(self, token: Token, now: Instant, sealer: Sealer) -> None:
        """Publish `token` in one step: a reader sees the old value or the new one, never a mixture.

        What is recorded of it is sealed, and `inspect` gives that back as its proof.

        When this returns, what was written has been read back. Raises OutputError, and then the old value
        is still in place: OutputHeldError if another running process writes this output.
        """

    def claim(self) -> None:
        """Begin to write here: remove what a killed predecessor left half-written, and keep other processes
        out from now on, as far as the place allows it. Called once at start. Raises OutputError, and
        OutputHeldError as `write` does."""

    def dry_run(self) -> tuple[str, ...]:
        """Try out whether a write would go well, as far as can be told without changing what readers see.

        Returns what would be otherwise than configured, in words for a person. Leaves nothing behind. Cheap.
        Raises OutputError with the text of the write that would fail, and OutputHeldError only where nothing
        else is wrong.
        """


def _forever() -> float:
    return math.inf


class ManagedToken(NamedTuple):
    """One token to keep fresh: what the operator wants, and the adapters it needs.

    `verifier`: tries new tokens out, where `policy.verifies`. `time_left`: seconds for which this process
    may still act as the leader, as of this very moment."""

    policy: TokenPolicy
    key: KeySource
    outputs: tuple[Output, ...]
    issuer: Issuer
    verifier: Verifier | None = None
    time_left: Callable[[], float] = _forever

    def output(self, name: str) -> Output:
        return next(output for output in self.outputs if output.name == name)

    def lane(self, slot: Slot) -> str:
        """The lane of the effects in this slot."""
        return self.adapters()[slot].lane

    def lanes(self) -> dict[Slot, str]:
        """Each slot of this token, with its lane."""
        return {slot: adapter.lane for slot, adapter in self.adapters().items()}

    def adapters(self) -> dict[Slot, Issuer | Verifier | Output]:
        """What performs the effects of each slot."""
        adapters: dict[Slot, Issuer | Verifier | Output] = {MINT_SLOT: self.issuer}
        if self.verifier is not None:
            adapters[VERIFY_SLOT] = self.verifier
        return adapters | {Slot(OUTPUT, output.name): output for output in self.outputs}

    def replaced_by(self, other: "ManagedToken") -> set[Slot]:
        """The slots whose adapter `other` does not share: effects in flight there are of no use to it."""
        before, after = self.adapters(), other.adapters()
        return {slot for slot in before.keys() | after.keys() if before.get(slot) is not after.get(slot)}

    def may_act(self) -> bool:
        """Whether this process may mint for this token now."""
        return not self.policy.elected or self.time_left() > 0


class Desired(NamedTuple):
    """The tokens to manage from now on, by name: an event for the engine. See `Engine.apply`."""

    tokens: Mapping[str, ManagedToken]


class Message(NamedTuple):
    """What is posted to the engine: an event for one token or for all of them (None).

    `said` is reported to the observers before the event is applied. `work`: the step that has ended.
    """

    token: str | None
    event: Event | KeysPolled | Desired | None
    notifications: tuple[Notification, ...] = ()
    work: Work | None = None


class Mailbox(Protocol):
    """The one queue by which everything reaches the engine's thread. `workers.Mailbox` is the real one."""

    def post(self, message: Message) -> None:
        """Post a message. From any thread, and from a signal handler."""

    def take(self, timeout: float) -> Message | None:
        """The next message, or None if none came within `timeout` seconds."""


class Observer(Protocol):
    """Who is told what happened: logs, metrics. Called on the engine's thread: must not block."""

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:
        """`token` is the token's name; empty for what concerns the whole process."""
