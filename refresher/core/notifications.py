"""The notifications for observers (logs, metrics, Kubernetes Events), from the core and the shell.

Those about the whole process are in `process_notifications`.
"""

from typing import NamedTuple

from refresher.core.effects import Slot
from refresher.core.instant import Instant
from refresher.core.model import Outcome, Reason, TokenFacts, Try, Verdict
from refresher.core.object_notifications import ObjectNotification
from refresher.core.process_notifications import ProcessNotification
from refresher.core.values import distinct


@distinct
class Series(NamedTuple):
    """Failures in a row. `since`: the first, in boot seconds. `failures`: how many; None if they are not
    counted."""

    since: float
    failures: int | None


@distinct
class KeyLoaded(NamedTuple):
    """A key was read: the first one, a changed one, or one whose source was unreadable before."""

    fingerprint: str
    changed: bool


@distinct
class KeySourceFailed(NamedTuple):
    """The key source is unreadable; `kept`: the last key is still in use."""

    message: str
    kept: bool
    series: Series | None = None


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
    """The valid token in `output` was adopted instead of minting."""

    output: str
    facts: TokenFacts


@distinct
class RefreshFailed(NamedTuple):
    """An attempt gave no new token. `wait`: seconds until the next attempt. `left`: seconds for which
    consumers still have a valid token. `request_id`: see `Declined`."""

    reason: Reason
    outcome: Outcome
    message: str
    key_fingerprint: str
    wait: float
    left: float
    series: Series | None = None
    request_id: str = ""


@distinct
class OutputWritten(NamedTuple):
    """An output holds the token in hand. `reason` as in `Write`."""

    output: str
    reason: str
    facts: TokenFacts


@distinct
class OutputFailed(NamedTuple):
    """An output could not be read or written. `expiry` of the valid token in it; None without one.
    `hung_for`: seconds for which the effect in flight has not answered; 0 if it has ended."""

    output: str
    message: str
    expiry: Instant | None
    writing: bool
    hung_for: float = 0.0
    series: Series | None = None


@distinct
class OutputAnswered(NamedTuple):
    """An output that did not answer, or could not be read, was inspected again."""

    output: str


@distinct
class OutputDisturbed(NamedTuple):
    """Another program deleted or altered an output."""

    output: str


@distinct
class OutputForged(NamedTuple):
    """The record of an output names our key, but its writer does not hold the key. Its token is ignored."""

    output: str


@distinct
class HookRan(NamedTuple):
    """The hook of an output succeeded. `message`: what it did."""

    output: str
    message: str


@distinct
class HookFailed(NamedTuple):
    """The hook of an output failed. `wait`: seconds until it runs again."""

    output: str
    message: str
    wait: float
    series: Series | None = None


@distinct
class OutputHeld(NamedTuple):
    """Another process, which `message` names, owns an output. This process does not write it."""

    output: str
    message: str


@distinct
class IssuerAnswered(NamedTuple):
    """An attempt to mint has ended. `skew`: seconds that our clock is ahead of the issuer's, if known."""

    tries: tuple[Try, ...]
    skew: float | None


@distinct
class Hanging(NamedTuple):
    """A mint, a verification or a hook has not answered for `seconds`. `subject`: what does not answer.
    `left`: seconds until it counts as failed."""

    slot: Slot
    subject: str
    seconds: float
    left: float


@distinct
class TokenVerified(NamedTuple):
    """`verify` of the issuer checked a new token. `message`: why it is not good."""

    fingerprint: str
    verdict: Verdict
    message: str


@distinct
class LifetimeShortened(NamedTuple):
    """The token with `fingerprint` expired after `age` seconds, earlier than expected. Later tokens are
    expected to live at most `believed` seconds."""

    fingerprint: str
    age: float
    believed: float


@distinct
class ConsumersUnserved(NamedTuple):
    """`outputs` hold no valid token. This process stands by, and the leader has not written one."""

    outputs: tuple[str, ...]


@distinct
class TokenRemoved(NamedTuple):
    """The token is no longer managed."""


@distinct
class OutputRemoved(NamedTuple):
    """The token is no longer published in this output. `taken_over`: another token is."""

    output: str
    taken_over: bool


@distinct
class OutputDeleted(NamedTuple):
    """What we wrote into an output that is no longer configured was deleted, as ``on_remove`` demands."""

    output: str


@distinct
class OutputNotDeleted(NamedTuple):
    """The content of an output that is no longer configured could not be deleted as ``on_remove`` demands."""

    output: str
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
    | OutputAnswered
    | OutputForged
    | HookRan
    | HookFailed
    | OutputHeld
    | IssuerAnswered
    | Hanging
    | TokenVerified
    | LifetimeShortened
    | ConsumersUnserved
    | TokenRemoved
    | OutputRemoved
    | OutputDeleted
    | OutputNotDeleted
    | ObjectNotification
    | ProcessNotification
)
