"""What observers (logs, metrics, Events) are told: by the machine, and by whatever surrounds it."""

from typing import NamedTuple

from refresher.core.instant import Instant
from refresher.core.model import Outcome, Reason, TokenFacts, Try, Verdict
from refresher.core.values import distinct


@distinct
class KeyLoaded(NamedTuple):
    """A key was read for the first time, or another one than before, or again after it could not be."""

    fingerprint: str
    changed: bool


@distinct
class KeySourceFailed(NamedTuple):
    """The key source is unreadable; `kept`: the last key is still in use."""

    message: str
    kept: bool


@distinct
class KeyProven(NamedTuple):
    """The issuer accepted a changed or formerly refused key."""

    fingerprint: str


@distinct
class TokenMinted(NamedTuple):
    """A new token is in hand. `failures`: how many attempts failed before."""

    reason: Reason
    facts: TokenFacts
    failures: int


@distinct
class TokenAdopted(NamedTuple):
    """A valid token found in `output` was taken over instead of minting."""

    output: str
    facts: TokenFacts


@distinct
class RefreshFailed(NamedTuple):
    """No new token. `wait`: seconds until the next attempt; `left`: seconds that consumers are served."""

    reason: Reason
    outcome: Outcome
    message: str
    key_fingerprint: str
    wait: float
    left: float


@distinct
class OutputWritten(NamedTuple):
    """An output holds the token in hand. `reason` as in `Write`."""

    output: str
    reason: str
    facts: TokenFacts


@distinct
class OutputFailed(NamedTuple):
    """An output could not be read or written. `expiry`: when what it holds ends, None for nothing valid."""

    output: str
    message: str
    expiry: Instant | None
    writing: bool


@distinct
class OutputDisturbed(NamedTuple):
    """Somebody else deleted or altered an output."""

    output: str


@distinct
class OutputForged(NamedTuple):
    """An output's record names our key and was not written by a holder of it. Its token is not believed."""

    output: str


@distinct
class OutputHeld(NamedTuple):
    """Another process owns an output, as `message` says: this one does not write it."""

    output: str
    message: str


@distinct
class IssuerAnswered(NamedTuple):
    """One attempt has ended, however. `skew`: seconds our wall clock is ahead of the issuer's, if it told."""

    tries: tuple[Try, ...]
    skew: float | None


@distinct
class TokenVerified(NamedTuple):
    """A new token was tried out. `message`: why it is not good."""

    fingerprint: str
    verdict: Verdict
    message: str


@distinct
class LifetimeShortened(NamedTuple):
    """A token of `fingerprint` was used up after `age` seconds, before its believed end: from the next one on
    none is believed to live longer than `believed` seconds."""

    fingerprint: str
    age: float
    believed: float


@distinct
class LeaderChanged(NamedTuple):
    """It is up to this process to mint and write, or to somebody else: to `holder`, if that is known."""

    lease: str
    leads: bool
    holder: str


@distinct
class LeaseFailed(NamedTuple):
    """The Lease could not be read or written. `leads`: this process still leads for the moment."""

    lease: str
    message: str
    leads: bool


@distinct
class ConsumersUnserved(NamedTuple):
    """`outputs` hold no valid token. This process stands by, and the one that leads has not mended it."""

    outputs: tuple[str, ...]


@distinct
class ThreadsRefused(NamedTuple):
    """The system refuses new threads. `message`: why, and what waits for one."""

    message: str


@distinct
class TokenRemoved(NamedTuple):
    """The token is not managed any more. What its outputs hold stays there."""


@distinct
class Crashed(NamedTuple):
    """A mistake of our own while doing `what`; the loop lives on."""

    what: str
    error: Exception


@distinct
class RequestIgnored(NamedTuple):
    """Somebody asked for what this version cannot do; it goes on as before."""

    message: str


Notification = (
    KeyLoaded
    | KeySourceFailed
    | KeyProven
    | TokenMinted
    | TokenAdopted
    | RefreshFailed
    | OutputWritten
    | OutputFailed
    | OutputDisturbed
    | OutputForged
    | OutputHeld
    | IssuerAnswered
    | TokenVerified
    | LifetimeShortened
    | LeaderChanged
    | LeaseFailed
    | ConsumersUnserved
    | ThreadsRefused
    | TokenRemoved
    | Crashed
    | RequestIgnored
)
