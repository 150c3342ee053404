"""Options of an issuer, which mints the tokens."""

import re
from typing import Annotated, NamedTuple

from refresher.config import addresses
from refresher.config.options import Option
from refresher.config.output_kinds import LONGEST_LIFETIME
from refresher.config.quoting import shown
from refresher.config.value_types import SWITCH, ValueType, anchored, duration, not_accepted, text_of

MAX_LIFETIME = 24 * 3600.0  # the API accepts thirty days; more than a day needs the operator's consent
MIN_LIFETIME = 10.0

_TIMEOUT = duration(1.0, 300.0, "1s to 5m")
_CEILING = duration(MIN_LIFETIME, LONGEST_LIFETIME, "10s to 30d")
_UNITS = {"s": 1.0, "min": 60.0}
_RATE = rf"([1-9][0-9]{{0,2}})/({'|'.join(_UNITS)})"
_RATE_ACCEPTED = "1/min to 999/s, such as 10/s or 90/min"


class Rate(NamedTuple):
    """So many requests in each `unit`."""

    requests: int
    unit: str

    def __str__(self) -> str:
        return f"{self.requests}/{self.unit}"

    @property
    def interval(self) -> float:
        """Seconds from one request to the next."""
        return _UNITS[self.unit] / self.requests


def _parse_rate(value: object) -> Rate:
    text = text_of(value, _RATE_ACCEPTED)
    match = re.fullmatch(_RATE, text)
    if match is None:
        raise not_accepted(shown(text), _RATE_ACCEPTED)
    return Rate(int(match[1]), match[2])


TIMEOUT = Option(
    "How long one whole attempt may take, with its quick retries.",
    _TIMEOUT,
    example="10s",
    flag="--issuer-timeout",
    group="issuer",
)
CA_FILE = Option(
    "PEM file of the authorities trusted for issuer and verify, instead of the system's store "
    "(SSL_CERT_FILE, SSL_CERT_DIR). Read again when it changes.",
    addresses.FILE,
    example="/etc/ssl/inlive.pem",
    flag="--ca-file",
    group="issuer",
)
MAX_LIFETIME_OPTION = Option(
    "The operator's policy: a token's lifetime longer than this is refused.",
    _CEILING,
    example="24h",
    flag="--max-lifetime",
    group="issuer",
)
VERIFY = Option(
    "A URL to request (GET) with each new token before it is published. 401 or 403: it is discarded.",
    addresses.VERIFY_URL,
    example="https://hub.inlive.app/v1/rooms/my-room",
    flag="--verify-url",
    group="issuer",
)
MAX_RATE = Option(
    "The most requests for tokens, of all tokens together. They are spread evenly, and the most urgent token "
    "goes first.",
    ValueType(_parse_rate, {"type": "string", "pattern": anchored(_RATE)}, "RATE", str),
    example="10/s",
)
EXCLUSIVE = Option(
    "Whether a new token ends the old one at once. Then only one process may mint, and nothing is minted "
    "while an output cannot be written.",
    SWITCH,
    example="true",
)


def identity_of(url: str, *request: object) -> str:
    """The identity of an issuer whose URL alone does not decide what a token may do. `request`: what does."""
    import hashlib  # noqa: PLC0415 -- only where wanted

    return f"{url}#{hashlib.sha256(repr(request).encode()).hexdigest()[:16]}"


class IssuerSettings(NamedTuple):
    """An Inlive API."""

    url: Annotated[
        str,
        Option(
            "Base URL of the Inlive API; tokens are minted at {url}/v1/keys/accesstoken.",
            addresses.URL,
            example="https://api.inlive.app",
            flag="--issuer-url",
            group="issuer",
        ),
    ] = "https://api.inlive.app"
    timeout: Annotated[float, TIMEOUT] = 10.0
    ca_file: Annotated[str | None, CA_FILE] = None
    max_lifetime: Annotated[float, MAX_LIFETIME_OPTION] = MAX_LIFETIME
    verify: Annotated[str | None, VERIFY] = None
    max_rate: Annotated[Rate | None, MAX_RATE] = None
    exclusive: Annotated[bool, EXCLUSIVE] = False

    @property
    def identity(self) -> str:
        """What outputs record. A token with another identity is another issuer's, and is not adopted."""
        return self.url

    @property
    def requests_lifetime(self) -> bool:
        """Whether a request contains the lifetime. Otherwise the issuer alone decides it."""
        return True
