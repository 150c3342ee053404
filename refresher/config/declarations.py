"""The configuration as frozen values: what `run`, `once` and the rest work from. See `loader` for how they
come about and `schema` for how an editor sees them. Durations are seconds.

Each field that a user can set carries its option: the one place from which the loader, the JSON Schema, the
flags and their variables are made.
"""

from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from refresher.config import addresses, kinds
from refresher.config.kinds import Kind, duration

MAX_LIFETIME = 24 * 3600.0  # design: the API takes thirty days; longer than a day needs the operator's word
LONGEST_LIFETIME = 30 * 86400.0  # the longest that the API was seen to be asked for
MIN_LIFETIME = 10.0


class Option(NamedTuple):
    """One thing a user can set. ``key`` is its name in the file, ``attribute`` in the settings."""

    doc: str
    kind: Kind = kinds.SECTION
    example: Any = None
    section: type | None = None  # instead of a kind: a mapping with options of its own
    repeated: bool = False  # a list of such sections, at least one
    flag: str | None = None
    group: str = ""  # of flags, see `flags`
    key: str = ""
    attribute: str = ""
    default: Any = None
    required: bool = False

    @property
    def variable(self) -> str:
        """The environment variable beside the flag."""
        return "REFRESHER_" + (self.flag or "")[2:].replace("-", "_").upper()

    @property
    def shown_default(self) -> Any:
        """The default as one would write it."""
        return self.kind.show(self.default)


@lru_cache
def options_of(section: type) -> dict[str, Option]:
    """The options of a settings type by their key in the file, in order of declaration."""
    found: dict[str, Option] = {}
    for attribute, annotation in section.__annotations__.items():
        option: Option = annotation.__metadata__[0]
        key = option.key or attribute
        defaults: dict[str, Any] = section._field_defaults  # type: ignore[attr-defined]  # a NamedTuple's
        found[key] = option._replace(
            key=key,
            attribute=attribute,
            default=defaults.get(attribute),
            required=attribute not in defaults,
        )
    return found


_TIMEOUT = duration(1.0, 300.0, "1s to 5m")
_CEILING = duration(MIN_LIFETIME, LONGEST_LIFETIME, "10s to 30d")
_LIFETIME = duration(
    MIN_LIFETIME, LONGEST_LIFETIME, "whole seconds, 10s to issuer.max_lifetime (24h by default)", whole=True
)
_RUNWAY = duration(0.0, LONGEST_LIFETIME, "0s to less than half of the lifetime")


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
            "PEM file of the authorities that may vouch for the issuer, instead of the system's.",
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


class FileOutputSettings(NamedTuple):
    path: Annotated[  # absolute
        str,
        Option(
            "The file that always holds a valid token.",
            kinds.FILE,
            example="/var/run/inlive/access-token",
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
            group="format",
        ),
    ] = "token"
    template: Annotated[  # with format "template" only
        str | None,
        Option(
            "With format template: the text, in which $access_token and its like are replaced.",
            kinds.TEMPLATE,
            example="token = $access_token\n",
            flag="--template",
            group="format",
        ),
    ] = None
    mode: Annotated[
        int,
        Option(
            "Permissions of the file in octal digits (in YAML: in quotes).",
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
    runway: Annotated[
        float,
        Option(
            "The longest its consumers take to see a new value; the token is replaced that much earlier.",
            _RUNWAY,
            example="30s",
            flag="--runway",
            group="output",
        ),
    ] = 0.0


OutputSettings = FileOutputSettings  # a union once there is a second kind


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
        Option("Where the token is published.", section=FileOutputSettings, repeated=True),
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


class ListenAddress(NamedTuple):
    """``host`` is empty for every address of the machine, IPv4 and IPv6."""

    host: str
    port: int


def _parse_listen(value: object) -> ListenAddress:
    return ListenAddress(*addresses.split_listen(value))


class Settings(NamedTuple):
    tokens: Annotated[
        tuple[TokenSettings, ...], Option("The tokens to keep fresh.", section=TokenSettings, repeated=True)
    ]
    issuer: Annotated[IssuerSettings, Option("Who mints the tokens.", section=IssuerSettings)] = (
        IssuerSettings()
    )
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
