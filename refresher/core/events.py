"""The events that the machine observes.

They are named tuples rather than dataclasses: as frozen, but seven times faster to declare at each start.
"""

from typing import NamedTuple

from refresher.core.effects import HOOK, MINT_SLOT, OUTPUT, VERIFY_SLOT, Action, Slot
from refresher.core.model import Declined, Holding, SecretStr, Token, Verification
from refresher.core.values import distinct

# --- Ends of effects. Each names the slot that is free again. `roll` is a random number from 0 to 1.


@distinct
class Minted(NamedTuple):
    """The issuer gave a token for `key`."""

    key: SecretStr
    token: Token
    roll: float

    @property
    def slot(self) -> Slot:
        return MINT_SLOT


@distinct
class MintFailed(NamedTuple):
    """An attempt with `key` ended without a token."""

    key: SecretStr
    declined: Declined
    roll: float

    @property
    def slot(self) -> Slot:
        return MINT_SLOT


@distinct
class Verified(NamedTuple):
    """The new token with this fingerprint was checked."""

    fingerprint: str
    verification: Verification

    @property
    def slot(self) -> Slot:
        return VERIFY_SLOT


@distinct
class Written(NamedTuple):
    """`token` was written to the output and read back."""

    output: str
    token: Token

    @property
    def slot(self) -> Slot:
        return Slot(OUTPUT, self.output)


@distinct
class WriteFailed(NamedTuple):
    """The output could not be written; its content is unchanged. `retry_after`: `Retry-After` of the API
    server, in seconds."""

    output: str
    message: str
    roll: float
    retry_after: float | None = None

    @property
    def slot(self) -> Slot:
        return Slot(OUTPUT, self.output)


@distinct
class DryRunPassed(NamedTuple):
    """A dry run succeeded: the output can be written."""

    output: str

    @property
    def slot(self) -> Slot:
        return Slot(OUTPUT, self.output)


@distinct
class Found(NamedTuple):
    """The output holds `holding`. `held`: a sentence about the other process that owns it; else empty.
    `hook_owed`: a former process wrote the output, and its hook has not succeeded since."""

    output: str
    holding: Holding
    held: str = ""
    hook_owed: bool = False

    @property
    def slot(self) -> Slot:
        return Slot(OUTPUT, self.output)


@distinct
class InspectFailed(NamedTuple):
    """The output's content is unknown. `out_of_sight`: only this process cannot see it; consumers can."""

    output: str
    message: str
    out_of_sight: bool = False

    @property
    def slot(self) -> Slot:
        return Slot(OUTPUT, self.output)


@distinct
class HookEnded(NamedTuple):
    """The hook of the output ran after its write number `write`. `did`: a sentence about what it did; None if
    it failed. `problem`: why it failed; None if it succeeded."""

    output: str
    write: int
    did: str | None
    problem: str | None
    roll: float

    @property
    def slot(self) -> Slot:
        return Slot(HOOK, self.output)


Ending = (
    Minted | MintFailed | Verified | Written | WriteFailed | DryRunPassed | Found | InspectFailed | HookEnded
)

# --- All other events.


@distinct
class Started(NamedTuple):
    """The driver has begun this step."""

    step: Action


@distinct
class Stalled(NamedTuple):
    """The effect on this output has been in flight for `seconds`. It may still end."""

    output: str
    seconds: float
    writing: bool


@distinct
class Late(NamedTuple):
    """A given-up effect has ended after all. It already counted as failed."""

    event: Ending


@distinct
class KeyRead(NamedTuple):
    """The key source was read for the first time, or its content has changed."""

    key: SecretStr


@distinct
class KeyUnreadable(NamedTuple):
    """The key source cannot be read, or holds no key."""

    message: str


@distinct
class ExpiryReported(NamedTuple):
    """A consumer reported that the token with this fingerprint has expired."""

    fingerprint: str


@distinct
class LeadershipChanged(NamedTuple):
    """Whether this process leads, and so may mint and write, has changed."""

    leads: bool


@distinct
class RefreshPlaced(NamedTuple):
    """A request at the output: a token that was issued before wall time `at` is to be replaced. None: the
    request was withdrawn."""

    output: str
    at: float | None


@distinct
class WatchEnded(NamedTuple):
    """The output may have changed, or its changes cannot be seen for now (`Holding.watched`)."""

    output: str


@distinct
class RefreshRequested(NamedTuple):
    """An operator requests a new token now (SIGUSR1)."""


@distinct
class Stopping(NamedTuple):
    """Mint no more. A token in hand is still written."""


Event = (
    Ending
    | Started
    | Stalled
    | Late
    | KeyRead
    | KeyUnreadable
    | ExpiryReported
    | LeadershipChanged
    | RefreshPlaced
    | RefreshRequested
    | Stopping
    | WatchEnded
)


@distinct
class KeysPolled(NamedTuple):
    """Every key source has been read. Only the engine uses this event."""
