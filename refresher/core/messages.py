"""What goes into the machine (events) and what comes out of it (steps, announcements).

Named tuples rather than dataclasses: as frozen, and a seventh of the price to declare, paid at every start.
"""

from typing import NamedTuple

from refresher.core.instant import Instant
from refresher.core.model import Declined, Holding, Outcome, Reason, SecretStr, Token, TokenFacts, Try

# --- Steps: what is to be done now. The hands (threads and sockets, or a simulated world) do it.


class Mint(NamedTuple):
    """Ask the issuer for a token."""

    key: SecretStr
    reason: Reason


class Write(NamedTuple):
    """Publish `token` in one output. `reason`: "new", or "repair" of what somebody deleted or altered."""

    output: str
    token: Token
    reason: str


class Inspect(NamedTuple):
    """Look at what one output holds. `first`: for the first time in this process."""

    output: str
    first: bool = False


class Adopt(NamedTuple):
    """Take over the valid token that `output` was found to hold. Needs no hands: starting it is doing it."""

    output: str
    holding: Holding


class Wait(NamedTuple):
    """Nothing to do before `until` (boot seconds), and then what."""

    until: float
    reason: str


Errand = Mint | Write | Inspect  # takes time, and comes back as an event
Action = Errand | Adopt
Step = Action | Wait

# --- Events: what has happened. `roll`, 0 to 1, is chance, drawn by the shell.


class Started(NamedTuple):
    """The hands have taken up this step."""

    step: Action


class KeyRead(NamedTuple):
    """The key source was read, for the first time or with another content than before."""

    key: SecretStr


class KeyUnreadable(NamedTuple):
    """The key source cannot be read, or holds what cannot be a key."""

    message: str


class Minted(NamedTuple):
    """The issuer gave a token to `key`."""

    key: SecretStr
    token: Token
    roll: float


class MintFailed(NamedTuple):
    """An attempt with `key` has ended without a token."""

    key: SecretStr
    declined: Declined
    roll: float


class Written(NamedTuple):
    """`token` is in the output, and was read back."""

    output: str
    token: Token


class WriteFailed(NamedTuple):
    """The output could not be written; it still holds what it held. `retry_after`: seconds for which whoever
    keeps it asks to be left alone."""

    output: str
    message: str
    roll: float
    retry_after: float | None = None


class Found(NamedTuple):
    """The output holds this."""

    output: str
    holding: Holding


class InspectFailed(NamedTuple):
    """What the output holds cannot be told. `out_of_sight`: only not from here; consumers have it still."""

    output: str
    message: str
    out_of_sight: bool = False


class ExpiryReported(NamedTuple):
    """A consumer was told that the token of this fingerprint has expired."""

    fingerprint: str


class LeadershipChanged(NamedTuple):
    """This process may write from here on, or must not any more."""

    leads: bool


class RefreshRequested(NamedTuple):
    """An operator wants a new token now (SIGUSR1)."""


class Stopping(NamedTuple):
    """No new mint from here on; what is in hand is still written."""


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
    | Found
    | InspectFailed
    | ExpiryReported
    | LeadershipChanged
    | RefreshRequested
    | Stopping
)

# --- Announcements: what observers (logs, metrics, status) are told.


class KeyLoaded(NamedTuple):
    """A key was read for the first time, or another one than before, or again after it could not be."""

    fingerprint: str
    changed: bool


class KeyLost(NamedTuple):
    """The key source is unreadable; `kept`: the last key is still in use."""

    message: str
    kept: bool


class KeyProven(NamedTuple):
    """The issuer accepted a changed or formerly refused key."""

    fingerprint: str


class TokenMinted(NamedTuple):
    """A new token is in hand. `failures`: how many attempts failed before."""

    reason: Reason
    facts: TokenFacts
    failures: int


class TokenAdopted(NamedTuple):
    """A valid token found in `output` was taken over instead of minting."""

    output: str
    facts: TokenFacts


class RefreshFailed(NamedTuple):
    """No new token. `wait`: seconds until the next attempt; `left`: seconds that consumers are served."""

    reason: Reason
    outcome: Outcome
    message: str
    key_fingerprint: str
    wait: float
    left: float


class OutputWritten(NamedTuple):
    """An output holds the token in hand. `reason` as in `Write`."""

    output: str
    reason: str
    facts: TokenFacts


class OutputFailed(NamedTuple):
    """An output could not be read or written. `expiry`: when what it holds ends, None for nothing valid."""

    output: str
    message: str
    expiry: Instant | None
    writing: bool


class OutputDisturbed(NamedTuple):
    """Somebody else deleted or altered an output."""

    output: str


class IssuerAnswered(NamedTuple):
    """One attempt has ended, however. `skew`: seconds our wall clock is ahead of the issuer's, if it told."""

    tries: tuple[Try, ...]
    skew: float | None


class LeadershipTurned(NamedTuple):
    """It is up to this process to mint and write, or to somebody else: to `holder`, if that is known."""

    lease: str
    leads: bool
    holder: str


class LeaseFailed(NamedTuple):
    """The Lease could not be read or written. `leads`: this process still leads for the moment."""

    lease: str
    message: str
    leads: bool


class Crashed(NamedTuple):
    """A mistake of our own while doing `what`; the loop lives on."""

    what: str
    error: Exception


class NotSupported(NamedTuple):
    """Somebody asked for what this version cannot do; it goes on as before."""

    message: str


Announcement = (
    KeyLoaded
    | KeyLost
    | KeyProven
    | TokenMinted
    | TokenAdopted
    | RefreshFailed
    | OutputWritten
    | OutputFailed
    | OutputDisturbed
    | IssuerAnswered
    | LeadershipTurned
    | LeaseFailed
    | Crashed
    | NotSupported
)
