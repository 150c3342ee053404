"""Every option of the configuration, and the settings as frozen values. Durations are seconds.

`loader` builds the settings; `options` says what an option is. Outputs are declared in `output_kinds`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, NamedTuple

from refresher.config import addresses, output_kinds, value_types
from refresher.config.issuers import MIN_LIFETIME, IssuerSettings
from refresher.config.json_mint import JsonIssuerSettings
from refresher.config.oauth2 import OAuth2IssuerSettings
from refresher.config.options import Option, options_of, sections_below
from refresher.config.output_kinds import LONGEST_LIFETIME, OutputSettings
from refresher.config.serving import REFRESH_TOKEN, ServeSettings
from refresher.config.value_types import ValueType, duration
from refresher.core.schedule import RETRY_ROOM

_LIFETIME = duration(
    MIN_LIFETIME, LONGEST_LIFETIME, "whole seconds, 10s to issuer.max_lifetime (24h by default)", whole=True
)
# A fail-over must fit into the minute reserved for retries.
_LEASE = duration(3.0, RETRY_ROOM, "whole seconds, 3s to 1m", whole=True)  # as the Lease itself counts


class TokenSettings(NamedTuple):
    name: Annotated[
        str,
        Option(
            "Name of the token in logs, metrics and commands.",
            value_types.NAME,
            example="studio",
            flag="--name",
            group="token",
        ),
    ]
    key_file: Annotated[  # absolute; empty if the command needs no key and flags give none
        str,
        Option(
            "File that holds the application key.",
            addresses.SECRET_FILE,
            example="/var/run/secrets/inlive/application-key",
            inherited=True,
            flag="--key-file",
            group="key",
        ),
    ]
    outputs: Annotated[
        tuple[OutputSettings, ...],
        Option(
            "Where the token is published: files and Secrets.",
            sections=output_kinds.SECTIONS,
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
            value_types.SHARE,
            example="70%",
            flag="--refresh-at",
            group="token",
        ),
    ] = 0.70
    serve_refresh_token: Annotated[bool, REFRESH_TOKEN] = False
    issuer: Annotated[  # the loader fills it in if there is only one
        str | None,
        Option(
            "Name of its issuer, one of issuers. May be left out if there is only one.",
            value_types.NAME,
            example="studio",
            inherited=True,
        ),
    ] = None


def _default(key: str) -> Option:
    """The option of a token, as a default for all tokens."""
    return options_of(TokenSettings)[key]._replace(flag=None, group="")


class TokenDefaults(NamedTuple):
    """Values for the tokens that do not set their own. None: not given."""

    key_file: Annotated[str | None, _default("key_file")] = None
    lifetime: Annotated[float | None, _default("lifetime")] = None
    refresh_at: Annotated[float | None, _default("refresh_at")] = None
    serve_refresh_token: Annotated[bool | None, _default("serve_refresh_token")] = None
    issuer: Annotated[str | None, _default("issuer")] = None


class ListenAddress(NamedTuple):
    """An empty `host` means every address of the machine, IPv4 and IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _parse_listen(value: object) -> ListenAddress:
    host, port = addresses.split_listen(value)
    return ListenAddress(host, port)


class LeaderElectionSettings(NamedTuple):
    lease: Annotated[  # "NAMESPACE/NAME", or "NAME" in the namespace of the process
        str,
        Option(
            "The Lease whose holder mints and writes Secrets while the other processes stand by.",
            addresses.LEASE,
            example="inlive/token-refresher",
            flag="--lease",
            group="election",
        ),
    ]
    duration: Annotated[
        float,
        Option(
            "How long the Lease holds without renewal: the time a standby waits when the leader dies.",
            _LEASE,
            example="15s",
            flag="--lease-duration",
            group="election",
        ),
    ] = 15.0


AnyIssuer = IssuerSettings | OAuth2IssuerSettings | JsonIssuerSettings


class Settings(NamedTuple):
    tokens: Annotated[
        tuple[TokenSettings, ...],
        Option("The tokens to keep fresh.", sections=(TokenSettings,), repeated=True),
    ]
    issuer: Annotated[
        IssuerSettings, Option("Who mints, if there is only one issuer.", sections=(IssuerSettings,))
    ] = IssuerSettings()
    issuers: Annotated[
        Mapping[str, AnyIssuer],
        Option(
            "Several issuers, by name, instead of issuer.",
            sections=(IssuerSettings, OAuth2IssuerSettings, JsonIssuerSettings),
            named=True,
        ),
    ] = MappingProxyType({})
    listen: Annotated[
        ListenAddress | None,
        Option(
            "Where /metrics, /livez, /readyz and /status are served; nowhere by default.",
            ValueType(_parse_listen, addresses.LISTEN_SCHEMA, "[HOST]:PORT", str),
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
    defaults: Annotated[  # the loader has applied them to the tokens
        TokenDefaults | None,
        Option("Settings of all tokens that do not set their own.", sections=(TokenDefaults,)),
    ] = None

    @property
    def all_issuers(self) -> tuple[AnyIssuer, ...]:
        """Every issuer."""
        return tuple(self.issuers.values()) or (self.issuer,)

    def issuer_of(self, token: TokenSettings) -> AnyIssuer:
        """The issuer of this token."""
        return self.issuer if token.issuer is None else self.issuers[token.issuer]


SECTIONS = {**sections_below(Settings), Settings: ""}  # with their paths: "tokens[].outputs[]."
KNOWN_KEYS = frozenset(key for section in SECTIONS for key in options_of(section))
