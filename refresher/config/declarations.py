"""The configuration as frozen values: what `run`, `once` and the rest work from. See `loader` for how they
come about and `schema` for how an editor sees them. Durations are seconds."""

from dataclasses import dataclass

MAX_LIFETIME = 24 * 3600.0  # design: the API takes thirty days; longer than a day needs the operator's word
MIN_LIFETIME = 10.0


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    url: str = "https://api.inlive.app"
    timeout: float = 10.0
    ca_file: str | None = None
    max_lifetime: float = MAX_LIFETIME


@dataclass(frozen=True, slots=True)
class FileOutputSettings:
    path: str  # absolute
    format: str = "token"
    template: str | None = None  # with format "template" only
    mode: int = 0o600
    group: str | None = None  # name or number
    runway: float = 0.0


OutputSettings = FileOutputSettings  # a union once there is a second kind


@dataclass(frozen=True, slots=True)
class TokenSettings:
    name: str
    key_file: str
    outputs: tuple[OutputSettings, ...]
    lifetime: float = 3600.0
    refresh_at: float = 0.70  # fraction of the lifetime


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """``host`` is empty for every address of the machine, IPv4 and IPv6."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Settings:
    tokens: tuple[TokenSettings, ...]
    issuer: IssuerSettings = IssuerSettings()
    listen: ListenAddress | None = None
