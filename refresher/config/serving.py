"""Options of the consumers' listener."""

import re
from typing import Annotated, NamedTuple

from refresher.config import addresses, value_types
from refresher.config.options import Option
from refresher.config.quoting import shown
from refresher.config.value_types import ValueType, anchored, not_accepted, text_of

_SOCKET = r"unix:/(?:[^\u0000-\u001f\u007f]*[^/\u0000-\u001f\u007f])"
_TCP = rf"{addresses.LOOPBACK}:[0-9]{{1,5}}"
_ACCEPTED = 'unix:/PATH, or a loopback port such as "127.0.0.1:9470"'
LONGEST_ADDRESS = 255


class ServeAddress(NamedTuple):
    """`path` of a Unix socket, or else `host` and `port`."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(value: object) -> ServeAddress:
    """A Unix socket or a loopback port. Other machines must not reach it, because it serves secrets."""
    text = text_of(value, _ACCEPTED)
    if len(text) <= LONGEST_ADDRESS and re.fullmatch(_SOCKET, text):
        return ServeAddress(text.removeprefix("unix:"))
    if re.fullmatch(_TCP, text):
        host, port = addresses.split_listen(text)
        return ServeAddress(host=host, port=port)
    if len(text) <= LONGEST_ADDRESS and re.fullmatch(addresses.LISTEN, text):
        raise not_accepted(f"{shown(text)} can be reached from other machines", _ACCEPTED)
    raise not_accepted(f"{shown(text)} is not an address to serve tokens at", _ACCEPTED)


_ADDRESS = ValueType(
    parse_address,
    {"type": "string", "pattern": anchored(f"{_SOCKET}|{_TCP}"), "maxLength": LONGEST_ADDRESS},
    "unix:PATH|HOST:PORT",
    str,
)


REFRESH_TOKEN = Option(
    "Whether the consumers' listener (serve) also serves the refresh token, which can mint.",
    value_types.SWITCH,
    example="true",
    flag="--serve-refresh-token",
    group="serve",
)


class ServeSettings(NamedTuple):
    address: Annotated[
        ServeAddress,
        Option(
            "Where programs on this machine get the token and report that it has expired; nowhere by "
            "default.",
            _ADDRESS,
            example="unix:/run/inlive/token.sock",
            flag="--serve",
            group="serve",
        ),
    ]
    group: Annotated[
        str | None,
        Option(
            "Group of the Unix socket, by name or number.",
            value_types.GROUP,
            example="www-data",
            flag="--serve-group",
            group="serve",
        ),
    ] = None
    mode: Annotated[
        int,
        Option(
            "Permissions of the Unix socket in octal digits (in YAML: in quotes). Users with write "
            "permission can get the token.",
            value_types.MODE,
            example="0660",
            flag="--serve-mode",
            group="serve",
        ),
    ] = 0o660
    secret_file: Annotated[
        str | None,
        Option(
            "File with the client secret of OAuth2 clients. Required on a TCP port. On a Unix socket, "
            "clients need no secret without it.",
            addresses.SECRET_FILE,
            example="/etc/inlive/client-secret",
            flag="--serve-secret-file",
            group="serve",
        ),
    ] = None
