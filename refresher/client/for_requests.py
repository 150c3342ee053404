"""`InliveAuth`: the token for requests."""

import os
from functools import partial
from typing import Any

from requests import PreparedRequest, Response
from requests.auth import AuthBase
from requests.exceptions import UnrewindableBodyError
from requests.utils import rewind_body

from refresher.client.opening import open_source
from refresher.client.source import EXPIRED_HEADER, authorization, says_expired


class InliveAuth(AuthBase):
    """Puts the current access token into each request. Any number of threads and sessions may share one.

    `source`: the path of a file, or the consumers' listener: ``unix:/PATH`` or ``127.0.0.1:PORT``.
    `token`: the name of the token at a listener that serves several.

    After a 403 with ``X-Access-Token-Expired`` the request is sent once more with the next token, if there is
    one and if its body can be sent again: text, bytes, or a file that can be rewound, but no generator.
    Otherwise the program gets the 403. A redirect to another host does not carry the token.

    A request raises TokenUnavailableError, an OSError, if there is no token at all.
    """

    def __init__(self, source: str | os.PathLike[str], *, token: str = "") -> None:
        self._source = open_source(source, token)

    def __repr__(self) -> str:
        return f"InliveAuth({self._source!r})"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        token = self._source.token()
        request.headers["Authorization"] = authorization(token)
        # requests also calls the hook for each response in a chain of redirects.
        request.register_hook("response", partial(self._answered, token))  # type: ignore[no-untyped-call]
        return request

    def _answered(self, token: str, response: Response, **sending: Any) -> Response:
        """The response to give the program: `response`, or the one to the second try. `sending`: the
        arguments of the adapter, such as the time-out."""
        request = response.request
        sent = request.headers.get("Authorization")
        if not says_expired(response.status_code, EXPIRED_HEADER in response.headers, sent, token):
            return response
        replacement = self._source.replacement(token)
        if replacement is None or not _rewound(request):
            return response
        response.content  # noqa: B018 -- read it to the end, so that its connection can be used again
        response.close()
        again = request.copy()
        again.headers["Authorization"] = authorization(replacement)
        second: Response = response.connection.send(again, **sending)
        second.history.append(response)
        return second


def _rewound(request: PreparedRequest) -> bool:
    """Whether the body can be sent again. A file is put back to where it was."""
    body: object = request.body  # the stubs know of no file
    if body is None or isinstance(body, str | bytes):
        return True
    try:
        rewind_body(request)
    except (UnrewindableBodyError, ValueError):  # ValueError: a closed file
        return False
    return True
