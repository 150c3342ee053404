"""The configuration as frozen values: what `run`, `once` and the rest work from. See `loader` for how they
come about and `schema` for how an editor sees them. Durations are seconds. Each field carries its option.
"""

from typing import Annotated, NamedTuple

from refresher.config import addresses, kinds, objects
from refresher.config.kinds import Kind, duration
from refresher.config.options import Option
from refresher.config.serving import REFRESH_TOKEN, ServeSettings
from refresher.core.schedule import RETRY_ROOM

MAX_LIFETIME = 24 * 3600.0  # design: the API takes thirty days; longer than a day needs the operator's word
LONGEST_LIFETIME = 30 * 86400.0  # the longest that the API was seen to be asked for
MIN_LIFETIME = 10.0
LAG_OF_SECRETS = 120.0  # kubelet's sync, and its cache (design §3)

_TIMEOUT = duration(1.0, 300.0, "1s to 5m")
_CEILING = duration(MIN_LIFETIME, LONGEST_LIFETIME, "10s to 30d")
_LIFETIME = duration(
    MIN_LIFETIME, LONGEST_LIFETIME, "whole seconds, 10s to issuer.max_lifetime (24h by default)", whole=True
)
_PROPAGATION_DELAY = duration(0.0, LONGEST_LIFETIME, "0s to less than half of the lifetime")
# A fail-over has to fit into the minute that is kept for retries.
_LEASE = duration(3.0, RETRY_ROOM, "whole seconds, 3s to 1m", whole=True)  # as the Lease itself counts


class IssuerSettings(NamedTuple):
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
    timeout: Annotated[
        float,
        Option(
            "How long one whole attempt may take, its quick retries included.",
            _TIMEOUT,
            example="10s",
            flag="--issuer-timeout",
            group="issuer",
        ),
    ] = 10.0
    ca_file: Annotated[
        str | None,
        Option(
            "PEM file of the authorities that may vouch for issuer and verify, instead of the system's store "
            "(SSL_CERT_FILE, SSL_CERT_DIR). Read again when it changes.",
            kinds.FILE,
            example="/etc/ssl/inlive.pem",
            flag="--ca-file",
            group="issuer",
        ),
    ] = None
    max_lifetime: Annotated[
        float,
        Option(
            "The operator's policy: a token's lifetime longer than this is refused.",
            _CEILING,
            example="24h",
            flag="--max-lifetime",
            group="issuer",
        ),
    ] = MAX_LIFETIME
    verify: Annotated[
        str | None,
        Option(
            "A URL that is asked (GET) with each new token before it is published. 401 or 403: it is not.",
            addresses.VERIFY_URL,
            example="https://hub.inlive.app/v1/rooms/my-room",
            flag="--verify-url",
            group="issuer",
        ),
    ] = None


_TEMPLATE = Option(
    "With format template: the text, in which $access_token and its like are replaced.",
    kinds.TEMPLATE,
    example="token = $access_token\n",
    flag="--template",
    group="format",
)


class FileOutputSettings(NamedTuple):
    path: Annotated[  # absolute
        str,
        Option(
            "The file that always holds a valid token.",
            kinds.FILE,
            example="/var/run/inlive/access-token",
            repeated=True,
            key="file",
            flag="--to-file",
            group="output",
        ),
    ]
    format: Annotated[
        str,
        Option(
            "What is written: token, bearer, env, json, inlive-sdk or template.",
            kinds.FORMAT,
            example="json",
            flag="--format",
            flag_note="In a Secret its key is access-token.",
            group="format",
        ),
    ] = "token"
    template: Annotated[str | None, _TEMPLATE] = None  # with format "template" only
    mode: Annotated[
        int,
        Option(
            "Permissions of the file in octal digits (in YAML: in quotes). 0640 lets its group read it, "
            "and those whom a default ACL of the directory names.",
            kinds.MODE,
            example="0640",
            flag="--mode",
            group="output",
        ),
    ] = 0o600
    group: Annotated[  # name or number
        str | None,
        Option(
            "Group that the file is given to, name or number.",
            kinds.GROUP,
            example="www-data",
            flag="--group",
            group="output",
        ),
    ] = None
    propagation_delay: Annotated[
        float,
        Option(
            "The longest its consumers take to see a new value; the token is replaced that much earlier.",
            _PROPAGATION_DELAY,
            example="30s",
            flag="--propagation-delay",
            flag_note=f"Of a Secret: {_PROPAGATION_DELAY.show(LAG_OF_SECRETS)}.",
            group="output",
        ),
    ] = 0.0


class SecretOutputSettings(NamedTuple):
    secret: Annotated[  # "NAMESPACE/NAME", or "NAME" in the namespace that the process is in
        str,
        Option(
            "The Secret that always holds a valid token; without NAMESPACE/ in the refresher's namespace.",
            objects.SECRET,
            example="studio/inlive-access-token",
            repeated=True,
            flag="--to-secret",
            group="output",
        ),
    ]
    data: Annotated[  # key and format
        tuple[tuple[str, str], ...],
        Option(
            "What is written: keys of the Secret, each with the format of its value.",
            objects.DATA,
            example={"access-token": "token", "auth.json": "inlive-sdk"},
            flag="--format",
        ),
    ] = (("access-token", "token"),)
    template: Annotated[str | None, _TEMPLATE] = None  # with format "template" among the data only
    propagation_delay: Annotated[
        float,
        Option(
            "The longest its consumers take to see a new value: 2m covers what a kubelet takes to mount it.",
            _PROPAGATION_DELAY,
            example="30s",
            flag="--propagation-delay",
        ),
    ] = LAG_OF_SECRETS


OutputSettings = FileOutputSettings | SecretOutputSettings


class TokenSettings(NamedTuple):
    name: Annotated[
        str,
        Option(
            "Name of the token in logs, metrics and commands.",
            kinds.NAME,
            example="studio",
            flag="--name",
            group="token",
        ),
    ]
    key_file: Annotated[  # absolute; empty where a command needs no key and flags gave none
        str,
        Option(
            "File that holds the application key.",
            kinds.SECRET_FILE,
            example="/var/run/secrets/inlive/application-key",
            flag="--key-file",
            group="key",
        ),
    ]
    outputs: Annotated[
        tuple[OutputSettings, ...],
        Option(
            "Where the token is published: files and Secrets.",
            sections=(FileOutputSettings, SecretOutputSettings),
            repeated=True,
        ),
    ]
    lifetime: Annotated[
        float,
        Option(
            "How long each token lives, in whole seconds.",
            _LIFETIME,
            example="1h",
            flag="--lifetime",
            group="key",
        ),
    ] = 3600.0
    refresh_at: Annotated[  # fraction of the lifetime
        float,
        Option(
            "When in its lifetime a token is replaced; earlier survives longer outages and mints more often.",
            kinds.SHARE,
            example="70%",
            flag="--refresh-at",
            group="token",
        ),
    ] = 0.70
    serve_refresh_token: Annotated[bool, REFRESH_TOKEN] = False


class ListenAddress(NamedTuple):
    """``host`` is empty for every address of the machine, IPv4 and IPv6."""

    host: str
    port: int


def _parse_listen(value: object) -> ListenAddress:
    host, port = addresses.split_listen(value)
    return ListenAddress(host, port)


class LeaderElectionSettings(NamedTuple):
    lease: Annotated[  # "NAMESPACE/NAME", or "NAME" in the namespace that the process is in
        str,
        Option(
            "The Lease whose holder mints and writes Secrets while the other processes stand by.",
            objects.LEASE,
            example="inlive/token-refresher",
            flag="--lease",
            group="election",
        ),
    ]
    duration: Annotated[
        float,
        Option(
            "How long the Lease holds without renewal: so long a standby waits when the leader dies.",
            _LEASE,
            example="15s",
            flag="--lease-duration",
            group="election",
        ),
    ] = 15.0


class Settings(NamedTuple):
    tokens: Annotated[
        tuple[TokenSettings, ...],
        Option("The tokens to keep fresh.", sections=(TokenSettings,), repeated=True),
    ]
    issuer: Annotated[IssuerSettings, Option("Who mints.", sections=(IssuerSettings,))] = IssuerSettings()
    listen: Annotated[
        ListenAddress | None,
        Option(
            "Where /metrics, /livez, /readyz and /status are served; nowhere when not given.",
            Kind(_parse_listen, addresses.LISTEN_SCHEMA, "[HOST]:PORT"),
            example=":9464",
            flag="--listen",
            group="listen",
        ),
    ] = None
    serve: Annotated[ServeSettings | None, Option("The consumers' listener.", sections=(ServeSettings,))] = (
        None
    )
    leader_election: Annotated[
        LeaderElectionSettings | None,
        Option("How several processes agree on the one that works.", sections=(LeaderElectionSettings,)),
    ] = None
