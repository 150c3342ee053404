"""The basic values: secrets, tokens, the content of outputs, reasons, outcomes and verdicts."""

import hashlib
import hmac
import math
from enum import StrEnum
from typing import NamedTuple, NoReturn

from refresher.core.instant import Instant
from refresher.core.values import distinct


class SecretStr:
    """Text that does not print itself: a key, an access token, a refresh token.

    ``str``, ``repr``, ``format`` and pickling never reveal the text. Only `reveal` does. Call it only where
    the text goes to its destination.
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
        raise TypeError("a secret cannot be pickled")


def secrets_in(value: object) -> list[SecretStr]:
    """Every secret in `value`: a secret, or a tuple of values, such as a state or an event."""
    found: list[SecretStr] = []
    tuples: list[tuple[object, ...]] = [(value,)]
    for values in tuples:  # the list grows meanwhile
        for part in values:
            if isinstance(part, tuple):
                tuples.append(part)
            elif isinstance(part, SecretStr):
                found.append(part)
    return found


def fingerprint(text: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of `text`. Identifies a secret without revealing it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@distinct
class TokenFacts(NamedTuple):
    """The public facts about a token: everything except its value.

    `issued`: the moment before the mint request was sent, so that the token never expires earlier than
    expected. `lifetime`: expected; `requested`: requested; both in seconds. `has_refresh_token`: the issuer
    sent a refresh token too. `issuer`: the base URL of the issuer.
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
        """Seconds until it expires, by the clock that is ahead; negative once it has expired."""
        return self.lifetime - self.issued.age(now)


@distinct
class Token(NamedTuple):
    """A token with its value. `refresh_token` may be unknown if the token was read back from an output."""

    facts: TokenFacts
    access: SecretStr
    refresh_token: SecretStr | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the refresh token is known, if the issuer sent one."""
        return self.refresh_token is not None or not self.facts.has_refresh_token


@distinct
class Proof(NamedTuple):
    """The content of a record as one text, and its seal (see `seal`); empty without a seal."""

    statement: str
    seal: str


@distinct
class Holding(NamedTuple):
    """The content of an output, as an inspection found it.

    `facts`: None if there is no token, or its expiry is unknown. `token`: None if the format does not allow
    to read it back. `intact`: content and mode are as they were written. `owner`: the installation that its
    record names; empty without one. `proof`: shows that a holder of the key wrote the record;
    None once it was checked. `refresh_requested`: a token that was issued before this wall time is to be
    replaced; None without a request. `watched`: an event reports the next change of the output, so that it
    need not be inspected soon.
    """

    facts: TokenFacts | None = None
    token: Token | None = None
    intact: bool = False
    owner: str = ""
    proof: Proof | None = None
    refresh_requested: float | None = None
    watched: bool = False

    def remaining(self, now: Instant) -> float:
        """Seconds for which its token is still valid; 0 without a valid token."""
        return max(0.0, self.facts.remaining(now)) if self.facts else 0.0


class Reason(StrEnum):
    """Why a token was obtained: the ``reason`` label of ``token_refresher_refreshes_total``."""

    FIRST = "first"
    SCHEDULED = "scheduled"
    KEY_CHANGED = "key_changed"
    REPORTED_EXPIRED = "reported_expired"
    REQUESTED = "requested"  # by SIGUSR1, or at an output


class Outcome(StrEnum):
    """How a mint request ended: the ``outcome`` label of ``token_refresher_mint_requests_total``."""

    OK = "ok"
    KEY_REFUSED = "key_refused"
    THROTTLED = "throttled"
    SERVER_ERROR = "server_error"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BAD_RESPONSE = "bad_response"


class Verdict(StrEnum):
    """How the check of a new token ended: the ``result`` label of ``token_refresher_verifications_total``."""

    GOOD = "good"
    REJECTED = "rejected"  # no consumer can use the token: do not publish it
    EXPIRED = "expired"  # publish it, other consumers may accept it; expect later tokens to live shorter
    INCONCLUSIVE = "inconclusive"  # any other result: publish the token


@distinct
class Verification(NamedTuple):
    """The result of checking a new token. `message`: why it is not good, safe to log."""

    verdict: Verdict
    message: str = ""


@distinct
class Granted(NamedTuple):
    """A successful mint. `lifetime`: of the token in seconds, as requested or by its own claims
    (core/expiry.py)."""

    access: SecretStr
    refresh_token: SecretStr | None
    lifetime: float = math.inf


@distinct
class Declined(NamedTuple):
    """A failed mint. `message`: why, safe to log. `retry_after`: in seconds. `request_id`: the issuer's name
    for the request, safe to log; empty without one."""

    outcome: Outcome
    message: str
    retry_after: float | None = None
    request_id: str = ""


@distinct
class Try(NamedTuple):
    """One HTTP request to the issuer: how it ended and how many seconds it took."""

    outcome: Outcome
    seconds: float


@distinct
class MintResult(NamedTuple):
    """One whole attempt. `sent`: the moment before the last request was sent. `skew`: seconds by which our
    wall clock is ahead of the issuer's ``Date`` header; None without this header."""

    answer: Granted | Declined
    sent: Instant
    tries: tuple[Try, ...]
    skew: float | None = None
