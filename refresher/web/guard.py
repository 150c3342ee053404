"""Which requests the consumers' listener refuses on a TCP port, because every program and every web page on
this machine can reach it. A Unix socket needs no guard: its mode and group decide.

Three rules keep out browsers and servers that fetch a URL for somebody else (SSRF):

- ``Host`` must be a loopback name. So a web page cannot get here by a name of its own (DNS rebinding).
- ``Origin`` must be missing, because only web pages send it.
- Every request to a path that accepts more than POST needs the header ``X-Token-Refresher: 1``. A link, an
  image or a fetched URL cannot add it. Cloud metadata services have the same rule.
"""

from http import HTTPStatus

from refresher.http.server.hosts import is_loopback_host
from refresher.http.server.messages import Request, Response
from refresher.web.responses import text

HEADER = "X-Token-Refresher"


def refusal(request: Request, *, is_post: bool) -> Response | None:
    """The response that refuses this request, or None to accept it. `is_post`: its path accepts only POST."""
    if not is_loopback_host(request.host):
        line = "the header Host names another machine; accepted: localhost, 127.0.0.1, [::1]"
    elif "origin" in request.headers:
        line = "requests from web pages (with the header Origin) are refused"
    elif not is_post and request.headers.get(HEADER.lower()) != "1":
        line = (
            f"the header {HEADER}: 1 is missing; send it to show that this is not a request from a web page"
        )
    else:
        return None
    return text(HTTPStatus.FORBIDDEN, line)
