"""Which ``Host`` can only mean this machine: the guard against DNS rebinding."""

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit


def is_own_host(host: str, listens_on: str = "") -> bool:
    """Whether a request to this `host` can only be meant for a server that listens on `listens_on`.

    A browser resolves ``localhost`` and what ends in it by itself, and an IP address needs no resolving: no
    web page can point any of them elsewhere, as it can point a name of its own at this machine.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name in ("localhost", listens_on.lower()) or name.endswith(".localhost"):
            return name != ""
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


@lru_cache(maxsize=16)  # clients of one server send very few
def is_loopback_host(host: str) -> bool:
    """Whether this `host` can only mean the machine that the client is on."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name == "localhost" or name.endswith(".localhost"):
            return True
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
