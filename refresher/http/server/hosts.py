"""Which ``Host`` can only mean this machine: the guard against DNS rebinding."""

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit


def is_own_host(host: str, listens_on: str = "") -> bool:
    """Whether a request to `host` can only be meant for a server that listens on `listens_on`.

    A web page can point its own domain at this machine. It cannot redirect ``localhost`` and its subdomains,
    which the browser resolves itself, or an IP address, which needs no resolving.
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
