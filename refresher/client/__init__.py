"""Python programs that call Inlive with the token that the refresher keeps fresh.

    import requests
    from refresher.client import InliveAuth

    hub = requests.Session()
    hub.auth = InliveAuth("/var/run/inlive/access-token")
    hub.post("https://hub.inlive.app/v1/rooms/create", json={"name": "My Room"})

`InliveHttpxAuth` does the same for httpx. Both put the current token into each request. If a response says
that the token has expired (403 with ``X-Access-Token-Expired``), they take the next token and send the
request again, once. See docs/python.md.

Nothing here imports the rest of the program. requests and httpx are imported with the class that needs them.
"""

from typing import TYPE_CHECKING

from refresher.client.source import TokenUnavailableError

if TYPE_CHECKING:
    from refresher.client.for_httpx import InliveHttpxAuth
    from refresher.client.for_requests import InliveAuth

__all__ = ["InliveAuth", "InliveHttpxAuth", "TokenUnavailableError"]

if not TYPE_CHECKING:  # a type checker must report a misspelt name

    def __getattr__(name: str) -> type:
        if name == "InliveAuth":
            from refresher.client.for_requests import InliveAuth  # noqa: PLC0415

            return InliveAuth
        if name == "InliveHttpxAuth":
            from refresher.client.for_httpx import InliveHttpxAuth  # noqa: PLC0415

            return InliveHttpxAuth
        raise AttributeError(f"module {__name__} has no attribute {name}")
