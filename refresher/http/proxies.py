"""Proxies, as the environment names them: whether the clients can use one, and how a message names it."""

import os
import re
from urllib.parse import urlsplit

_ACCEPTED = "accepted: http://[USER:PASSWORD@]HOST[:PORT]"
_VARIABLES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def mistake(proxy: str) -> str:
    """Why `proxy` cannot be used; empty if it can. Names the variable and never its value, which may contain
    a password."""
    reason = _reason(proxy)
    return f"{_variable(proxy)} cannot be used: {reason}; {_ACCEPTED}" if reason else ""


def address(proxy: str) -> str:
    """Its host and port, as a message may show it: without user and password. Empty for what is no URL."""
    return host_and_port(proxy if "://" in proxy else f"//{proxy}")


def host_and_port(url: str) -> str:
    """As a message may show it: without user and password. Empty for what is no URL: any of it may be one."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _reason(proxy: str) -> str:
    if unfit := re.search(r"[^\x21-\x7e]", proxy):
        what = "a line break" if unfit[0] in "\r\n" else "a character that no URL may have"
        return f"there is {what} in it"
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is no URL"
    if "@" in parts.path + parts.query + parts.fragment:
        return "in a password, the characters / ? # must be percent-encoded"
    if parts.scheme.startswith("socks"):
        return "SOCKS proxies are not supported"
    return "" if host and parts.scheme in ("http", "https") else "it is no URL of a proxy"


def _variable(proxy: str) -> str:
    return next((name for name in _VARIABLES if os.environ.get(name) == proxy), "HTTPS_PROXY or its like")
