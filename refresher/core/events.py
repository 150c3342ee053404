"""What has happened, as the machine learns of it.

Named tuples rather than dataclasses: as frozen, and a seventh of the price to declare, paid at every start.
"""

from typing import NamedTuple

from refresher.core.effects import MINT_SLOT, OUTPUT, VERIFY_SLOT, Action, Slot
from refresher.core.model import Declined, Holding, SecretStr, Token, Verification
from refresher.core.values import distinct

# --- How effects end. Each says which slot is free again. `roll`, 0 to 1, is chance, drawn by the shell.


@distinct
class Minted(NamedTuple):
    """The issuer gave a token to `key`."""

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
    """The new token of this fingerprint was tried out."""

    fingerprint: str
    verification: Verification

    @property
    def slot(self) -> Slot:
        return VERIFY_SLOT


@distinct
class Written(NamedTuple):
    """`token` is in the output, and was read back."""

    output: str
    token: Token

    @property
    def slot(self) -> Slot:
        return Slot(OUTPUT, self.output)


@distinct
class WriteFailed(NamedTuple):
    """The output could not be written; it still holds what it held. `retry_after`: seconds, as the API server
    asks in its header of that name."""

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
    """The output holds this. `held`: the other process that owns it, as a sentence; empty if none does."""

    output: str
    holding: Holding
    held: str = ""

    @property
    def slot(self) -> Slot:
        return Slot(OUTPUT, self.output)


@distinct
class InspectFailed(NamedTuple):
    """The output's content is unknown. `out_of_sight`: only to this process; consumers still have it."""

    output: str
    message: str
    out_of_sight: bool = False

    @property
    def slot(self) -> Slot:
        return Slot(OUTPUT, self.output)


Ending = Minted | MintFailed | Verified | Written | WriteFailed | DryRunPassed | Found | InspectFailed

# --- What else happens.


@distinct
class Started(NamedTuple):
    """The executor has taken up this step."""

    step: Action


@distinct
class Stalled(NamedTuple):
    """The step on this output has been in flight for `seconds` and has not ended. It may still end."""

    output: str
    seconds: float
    writing: bool


@distinct
class Late(NamedTuple):
    """How a step ended that was given up: it already counted as a failure."""

    event: Ending


@distinct
class KeyRead(NamedTuple):
    """The key source was read, for the first time or with another content than before."""

    key: SecretStr


@distinct
class KeyUnreadable(NamedTuple):
    """The key source cannot be read, or does not hold a key."""

    message: str


@distinct
class ExpiryReported(NamedTuple):
    """A consumer learned that the token of this fingerprint has expired."""

    fingerprint: str


@distinct
class LeadershipChanged(NamedTuple):
    """This process may write from now on, or must not any more."""

    leads: bool


@distinct
class RefreshRequested(NamedTuple):
    """An operator wants a new token now (SIGUSR1)."""


@distinct
class Stopping(NamedTuple):
    """No new mint from now on; a token in hand is still written."""


Event = (
    Ending
    | Started
    | Stalled
    | Late
    | KeyRead
    | KeyUnreadable
    | ExpiryReported
    | LeadershipChanged
    | RefreshRequested
    | Stopping
)


@distinct
class KeysPolled(NamedTuple):
    """Every key source has been read. Concerns the engine only, no token."""
