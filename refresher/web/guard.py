"""Who may ask the consumers' listener on a TCP port, which every program and every web page on this machine
can reach. A Unix socket needs no guard: its mode and its group decide.

Three rules keep out browsers and servers that fetch a URL for somebody else (SSRF). The ``Host`` must be a
loopback name, so no web page gets here by a name of its own (DNS rebinding). A request with an ``Origin``
comes from a web page. And whatever a link, an image or a fetched URL can cause needs the header
``X-Token-Refresher: 1``, which those cannot add (cloud metadata services have the same rule).
"""

from http import HTTPStatus

from refresher.http.server.hosts import is_loopback_host
from refresher.http.server.messages import Request, Response
from refresher.web.responses import text

HEADER = "X-Token-Refresher"


def refusal(request: Request, *, is_post: bool) -> Response | None:
    """The response to a request that must not be answered; None for any other. `is_post`: it goes to a path
    that takes nothing but POST."""
    if not is_loopback_host(request.host):
        line = "Host names another machine; accepted: localhost, 127.0.0.1, [::1]"
    elif "origin" in request.headers:
        line = "requests of web pages (with the header Origin) are refused"
    elif not is_post and request.headers.get(HEADER.lower()) != "1":
        line = f"send the header {HEADER}: 1 as well, which a web page cannot"
    else:
        return None
    return text(HTTPStatus.FORBIDDEN, line)
