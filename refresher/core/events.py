"""What has happened, as the machine learns of it.

Named tuples rather than dataclasses: as frozen, and a seventh of the price to declare, paid at every start.
"""

from typing import NamedTuple

from refresher.core.effects import Action
from refresher.core.model import (
    Declined,
    Holding,
    SecretStr,
    Token,
)
from refresher.core.values import distinct

# --- Events: what has happened. `roll`, 0 to 1, is chance, drawn by the shell.


@distinct
class Started(NamedTuple):
    """The executor has taken up this step."""

    step: Action


@distinct
class KeyRead(NamedTuple):
    """The key source was read, for the first time or with another content than before."""

    key: SecretStr


@distinct
class KeyUnreadable(NamedTuple):
    """The key source cannot be read, or holds what cannot be a key."""

    message: str


@distinct
class Minted(NamedTuple):
    """The issuer gave a token to `key`. `expired`: whoever tried it out was told that it is so already."""

    key: SecretStr
    token: Token
    roll: float
    expired: bool = False


@distinct
class MintFailed(NamedTuple):
    """An attempt with `key` has ended without a token."""

    key: SecretStr
    declined: Declined
    roll: float


@distinct
class Written(NamedTuple):
    """`token` is in the output, and was read back."""

    output: str
    token: Token


@distinct
class WriteFailed(NamedTuple):
    """The output could not be written; it still holds what it held. `retry_after`: seconds for which whoever
    keeps it asks to be left alone."""

    output: str
    message: str
    roll: float
    retry_after: float | None = None


@distinct
class DryRunPassed(NamedTuple):
    """A dry run succeeded: the output can be written."""

    output: str


@distinct
class Found(NamedTuple):
    """The output holds this. `held`: which other process owns it, as a sentence; empty if none does."""

    output: str
    holding: Holding
    held: str = ""


@distinct
class InspectFailed(NamedTuple):
    """What the output holds cannot be told. `out_of_sight`: only not from here; consumers have it still."""

    output: str
    message: str
    out_of_sight: bool = False


@distinct
class Stalled(NamedTuple):
    """The step on this output has been in flight for `seconds` and has not ended. It is still waited for."""

    output: str
    seconds: float
    writing: bool


@distinct
class Late(NamedTuple):
    """How a step ended that had been given up: `event` was counted as a failure before."""

    event: "Minted | MintFailed | Written | WriteFailed | DryRunPassed | Found | InspectFailed"


@distinct
class ExpiryReported(NamedTuple):
    """A consumer was told that the token of this fingerprint has expired."""

    fingerprint: str


@distinct
class LeadershipChanged(NamedTuple):
    """This process may write from here on, or must not any more."""

    leads: bool


@distinct
class RefreshRequested(NamedTuple):
    """An operator wants a new token now (SIGUSR1)."""


@distinct
class Stopping(NamedTuple):
    """No new mint from here on; what is in hand is still written."""


@distinct
class KeysPolled(NamedTuple):
    """Every key source has been read. Concerns the engine only, no token."""


Event = (
    Started
    | KeyRead
    | KeyUnreadable
    | Minted
    | MintFailed
    | Written
    | WriteFailed
    | DryRunPassed
    | Found
    | InspectFailed
    | Stalled
    | Late
    | ExpiryReported
    | LeadershipChanged
    | RefreshRequested
    | Stopping
)
