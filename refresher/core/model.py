"""The values that everything else speaks of: secrets, tokens, what an output holds, why, and how it went."""

import hashlib
import hmac
import math
from enum import StrEnum
from typing import NamedTuple, NoReturn

from refresher.core.instant import Instant
from refresher.core.values import distinct


class SecretStr:
    """Text that does not print itself: an application key, an access token, a refresh token.

    ``str``, ``repr``, ``format`` and pickling never give the text away; `reveal` does, and is called only
    where the text leaves for the place it is meant for.
    """

    __slots__ = ("_text", "fingerprint")

    def __init__(self, text: str) -> None:
        self._text = text
        self.fingerprint = fingerprint(text)

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return f"<secret {self.fingerprint}>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretStr):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def secrets_in(value: object) -> list[SecretStr]:
    """Every secret in `value`: a secret, or a tuple of values, as states and events are."""
    found: list[SecretStr] = []
    tuples: list[tuple[object, ...]] = [(value,)]
    for each in tuples:  # it grows meanwhile
        for part in each:
            if isinstance(part, tuple):
                tuples.append(part)
            elif isinstance(part, SecretStr):
                found.append(part)
    return found


def fingerprint(text: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of `text`: names a secret without telling it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@distinct
class TokenFacts(NamedTuple):
    """What may be told about a token to anybody: everything but its value.

    ``lifetime`` is what is believed, ``requested`` what was asked for, both in seconds. ``issued`` is the
    moment before the mint request was sent, so that the token never ends sooner than believed.
    ``has_refresh_token`` says that a refresh token was issued along. ``issuer`` is the base URL of the issuer
    that minted it.
    """

    issued: Instant
    lifetime: float
    requested: float
    key_fingerprint: str
    fingerprint: str
    has_refresh_token: bool
    issuer: str

    @property
    def expiry(self) -> Instant:
        return self.issued + self.lifetime

    def remaining(self, now: Instant) -> float:
        """Seconds until it expires by whichever clock says so first; negative once it has."""
        return self.lifetime - self.issued.age(now)


@distinct
class Token(NamedTuple):
    """A token in hand. ``refresh_token`` may be unknown for one that was read back from an output."""

    facts: TokenFacts
    access: SecretStr
    refresh_token: SecretStr | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all that was issued is in hand, the refresh token included."""
        return self.refresh_token is not None or not self.facts.has_refresh_token


@distinct
class Proof(NamedTuple):
    """What a record says, as one text, and its seal (see `seal`); empty where it has none."""

    statement: str
    seal: str


@distinct
class Holding(NamedTuple):
    """What an output was found to hold.

    ``facts`` is None when there is nothing, or something whose end is not known. ``token`` is None where
    the format does not let the value be read back. ``intact``: content and mode are as they were written.
    ``owner``: the installation that it says it belongs to; empty where it does not say. ``proof``: what shows
    that a holder of the application key wrote this; None once that is known.
    """

    facts: TokenFacts | None = None
    token: Token | None = None
    intact: bool = False
    owner: str = ""
    proof: Proof | None = None

    def remaining(self, now: Instant) -> float:
        """Seconds for which a consumer can still use it; never negative, 0 when there is no valid token."""
        return max(0.0, self.facts.remaining(now)) if self.facts else 0.0


class Reason(StrEnum):
    """Why a token was obtained: the ``reason`` label of ``token_refresher_refreshes_total``."""

    FIRST = "first"
    SCHEDULED = "scheduled"
    KEY_CHANGED = "key_changed"
    REPORTED_EXPIRED = "reported_expired"
    REQUESTED = "requested"  # SIGUSR1
    ADOPTED = "adopted"


class Outcome(StrEnum):
    """What a mint request came to: the ``outcome`` label of ``token_refresher_mint_requests_total``."""

    OK = "ok"
    KEY_REFUSED = "key_refused"
    THROTTLED = "throttled"
    SERVER_ERROR = "server_error"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BAD_RESPONSE = "bad_response"


class Verdict(StrEnum):
    """What the ``verify`` URL made of a new token: the ``result`` label of
    ``token_refresher_verifications_total``."""

    GOOD = "good"
    REJECTED = "rejected"  # no consumer could use it: it is not published
    EXPIRED = "expired"  # already: it is published, as it may do for others, and the next believed less
    INCONCLUSIVE = "inconclusive"  # whatever else: a token is not held back for that


@distinct
class Verification(NamedTuple):
    """How trying a new token out has ended. `message`: why it is not good, fit to be logged."""

    verdict: Verdict
    message: str = ""


@distinct
class Granted(NamedTuple):
    """The issuer's yes: what it gave. ``lifetime``: seconds that the token lives, as requested or by its own
    claims (core/expiry.py)."""

    access: SecretStr
    refresh_token: SecretStr | None
    lifetime: float = math.inf


@distinct
class Declined(NamedTuple):
    """Any other end of a mint request. ``retry_after`` is in seconds; ``message`` is fit to be logged."""

    outcome: Outcome
    message: str
    retry_after: float | None = None


@distinct
class Try(NamedTuple):
    """One HTTP request to the issuer: what it came to and how many seconds it took."""

    outcome: Outcome
    seconds: float


@distinct
class MintResult(NamedTuple):
    """One whole attempt. ``sent`` is the moment before the last request was sent, ``skew`` how many seconds
    our wall clock is ahead of the issuer's ``Date`` header (None when it sent none)."""

    answer: Granted | Declined
    sent: Instant
    tries: tuple[Try, ...]
    skew: float | None = None
