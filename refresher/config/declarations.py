"""The configuration as frozen values: what `run`, `once` and the rest work from. See `loader` for how they
come about and `schema` for how an editor sees them. Durations are seconds.

Each field that a user can set carries its option: the one place from which the loader, the JSON Schema, the
flags and their variables are made.
"""

from dataclasses import MISSING, dataclass, field, fields
from functools import lru_cache
from typing import Any, NamedTuple

from refresher.config import addresses, kinds
from refresher.config.kinds import Kind, duration

MAX_LIFETIME = 24 * 3600.0  # design: the API takes thirty days; longer than a day needs the operator's word
LONGEST_LIFETIME = 30 * 86400.0  # the longest that the API was seen to be asked for
MIN_LIFETIME = 10.0


class Option(NamedTuple):
    """One thing a user can set. ``key`` is its name in the file, ``attribute`` in the settings."""

    doc: str
    example: Any = None
    kind: Kind = kinds.SECTION
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
    for each in fields(section):
        option: Option = each.metadata["option"]
        key = option.key or each.name
        found[key] = option._replace(
            key=key, attribute=each.name, default=each.default, required=each.default is MISSING
        )
    return found


def _option(doc: str, kind: Kind = kinds.SECTION, **more: Any) -> dict[str, Option]:
    return {"option": Option(doc, kind=kind, **more)}


_TIMEOUT = duration(1.0, 300.0, "1s to 5m")
_CEILING = duration(MIN_LIFETIME, LONGEST_LIFETIME, "10s to 30d")
_LIFETIME = duration(
    MIN_LIFETIME, LONGEST_LIFETIME, "whole seconds, 10s to issuer.max_lifetime (24h by default)", whole=True
)
_RUNWAY = duration(0.0, LONGEST_LIFETIME, "0s to less than half of the lifetime")


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    url: str = field(
        default="https://api.inlive.app",
        metadata=_option(
            "Base URL of the Inlive API; tokens are minted at {url}/v1/keys/accesstoken.",
            addresses.URL,
            example="https://api.inlive.app",
            flag="--issuer-url",
            group="issuer",
        ),
    )
    timeout: float = field(
        default=10.0,
        metadata=_option(
            "How long one whole attempt may take, its quick retries included.",
            _TIMEOUT,
            example="10s",
            flag="--issuer-timeout",
            group="issuer",
        ),
    )
    ca_file: str | None = field(
        default=None,
        metadata=_option(
            "PEM file of the authorities that may vouch for the issuer, instead of the system's.",
            kinds.FILE,
            example="/etc/ssl/inlive.pem",
            flag="--ca-file",
            group="issuer",
        ),
    )
    max_lifetime: float = field(
        default=MAX_LIFETIME,
        metadata=_option(
            "The operator's policy: a token's lifetime longer than this is refused.",
            _CEILING,
            example="24h",
            flag="--max-lifetime",
            group="issuer",
        ),
    )


@dataclass(frozen=True, slots=True)
class FileOutputSettings:
    path: str = field(  # absolute
        metadata=_option(
            "The file that always holds a valid token.",
            kinds.FILE,
            example="/var/run/inlive/access-token",
            key="file",
            flag="--to-file",
            group="output",
        )
    )
    format: str = field(
        default="token",
        metadata=_option(
            "What is written: token, bearer, env, json, inlive-sdk or template.",
            kinds.FORMAT,
            example="json",
            flag="--format",
            group="format",
        ),
    )
    template: str | None = field(  # with format "template" only
        default=None,
        metadata=_option(
            "With format template: the text, in which $access_token and its like are replaced.",
            kinds.TEMPLATE,
            example="token = $access_token\n",
            flag="--template",
            group="format",
        ),
    )
    mode: int = field(
        default=0o600,
        metadata=_option(
            "Permissions of the file in octal digits (in YAML: in quotes).",
            kinds.MODE,
            example="0640",
            flag="--mode",
            group="output",
        ),
    )
    group: str | None = field(  # name or number
        default=None,
        metadata=_option(
            "Group that the file is given to, name or number.",
            kinds.GROUP,
            example="www-data",
            flag="--group",
            group="output",
        ),
    )
    runway: float = field(
        default=0.0,
        metadata=_option(
            "The longest its consumers take to see a new value; the token is replaced that much earlier.",
            _RUNWAY,
            example="30s",
            flag="--runway",
            group="output",
        ),
    )


OutputSettings = FileOutputSettings  # a union once there is a second kind


@dataclass(frozen=True, slots=True)
class TokenSettings:
    name: str = field(
        metadata=_option(
            "Name of the token in logs, metrics and commands.",
            kinds.NAME,
            example="studio",
            flag="--name",
            group="token",
        )
    )
    key_file: str = field(  # absolute; empty where a command needs no key and flags gave none
        metadata=_option(
            "File that holds the application key.",
            kinds.SECRET_FILE,
            example="/var/run/secrets/inlive/application-key",
            flag="--key-file",
            group="key",
        )
    )
    outputs: tuple[OutputSettings, ...] = field(
        metadata=_option("Where the token is published.", section=FileOutputSettings, repeated=True)
    )
    lifetime: float = field(
        default=3600.0,
        metadata=_option(
            "How long each token lives, in whole seconds.",
            _LIFETIME,
            example="1h",
            flag="--lifetime",
            group="key",
        ),
    )
    refresh_at: float = field(  # fraction of the lifetime
        default=0.70,
        metadata=_option(
            "When in its lifetime a token is replaced; earlier survives longer outages and mints more often.",
            kinds.SHARE,
            example="70%",
            flag="--refresh-at",
            group="token",
        ),
    )


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """``host`` is empty for every address of the machine, IPv4 and IPv6."""

    host: str
    port: int


def _parse_listen(value: object) -> ListenAddress:
    return ListenAddress(*addresses.split_listen(value))


@dataclass(frozen=True, slots=True)
class Settings:
    tokens: tuple[TokenSettings, ...] = field(
        metadata=_option("The tokens to keep fresh.", section=TokenSettings, repeated=True)
    )
    issuer: IssuerSettings = field(
        default=IssuerSettings(), metadata=_option("Who mints the tokens.", section=IssuerSettings)
    )
    listen: ListenAddress | None = field(
        default=None,
        metadata=_option(
            "Where /metrics, /livez, /readyz and /status are served; nowhere when not given.",
            Kind(_parse_listen, addresses.LISTEN_SCHEMA, "[HOST]:PORT"),
            example=":9464",
            flag="--listen",
            group="listen",
        ),
    )
