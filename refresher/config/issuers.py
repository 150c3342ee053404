"""Options of an issuer, which mints the tokens."""

from typing import Annotated, NamedTuple

from refresher.config import addresses
from refresher.config.options import Option
from refresher.config.output_kinds import LONGEST_LIFETIME
from refresher.config.value_types import duration

MAX_LIFETIME = 24 * 3600.0  # the API accepts thirty days; more than a day needs the operator's consent
MIN_LIFETIME = 10.0

_TIMEOUT = duration(1.0, 300.0, "1s to 5m")
_CEILING = duration(MIN_LIFETIME, LONGEST_LIFETIME, "10s to 30d")


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

    @property
    def identity(self) -> str:
        """What outputs record. A token with another identity is another issuer's, and is not adopted."""
        return self.url
