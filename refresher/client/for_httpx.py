"""`InliveHttpxAuth`: the token for httpx."""

import os
from collections.abc import AsyncGenerator, Generator

import anyio.to_thread  # httpx requires anyio
import httpx

from refresher.client.opening import open_source
from refresher.client.source import EXPIRED_HEADER, authorization, says_expired


class InliveHttpxAuth(httpx.Auth):
    """`InliveAuth` for httpx, for `httpx.Client` and `httpx.AsyncClient`.

    The body can be sent again if httpx holds it in memory: text, bytes, JSON, a form; no file and no
    generator. `httpx.AsyncClient` reads the file or asks the listener on a thread, so its loop never waits.
    """

    def __init__(self, source: str | os.PathLike[str], *, token: str = "") -> None:
        self._source = open_source(source, token)

    def __repr__(self) -> str:
        return f"InliveHttpxAuth({self._source!r})"

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self._source.token()
        response = yield _with(request, token)
        if _is_worth_a_second_try(response, token):
            replacement = self._source.replacement(token)
            if replacement is not None:
                yield _with(response.request, replacement)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        token = await anyio.to_thread.run_sync(self._source.token)
        response = yield _with(request, token)
        if _is_worth_a_second_try(response, token):
            replacement = await anyio.to_thread.run_sync(self._source.replacement, token)
            if replacement is not None:
                yield _with(response.request, replacement)


def _with(request: httpx.Request, token: str) -> httpx.Request:
    request.headers["Authorization"] = authorization(token)
    return request


def _is_worth_a_second_try(response: httpx.Response, token: str) -> bool:
    """`response.request` is the request that failed: the last of a chain of redirects."""
    request = response.request
    sent = request.headers.get("Authorization")
    expired = says_expired(response.status_code, EXPIRED_HEADER in response.headers, sent, token)
    return expired and isinstance(request.stream, httpx.ByteStream)
