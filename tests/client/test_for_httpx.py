"""`InliveHttpxAuth`: the same calls with httpx, blocking and asynchronous."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from refresher.client import InliveHttpxAuth
from refresher.emulator.server import Emulator
from refresher.http.server.messages import Response
from tests.client.serving import EXPIRED, early_mints, elsewhere, redirect, with_an_ended_token

ROOM = b'{"name": "My Room"}'
Post = Callable[..., httpx.Response]


def blocking(url: str, auth: httpx.Auth, **body: object) -> httpx.Response:
    with httpx.Client(follow_redirects=True, trust_env=False) as client:
        return client.post(url, auth=auth, **body)


def asynchronous(url: str, auth: httpx.Auth, **body: object) -> httpx.Response:
    async def post() -> httpx.Response:
        async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as client:
            return await client.post(url, auth=auth, **body)

    return asyncio.run(post())


both = pytest.mark.parametrize("post", [blocking, asynchronous])


@both
@pytest.mark.parametrize(
    "body", [{"content": ROOM}, {"content": ROOM.decode()}, {"json": {"name": "My Room"}}]
)
def test_an_expired_token_is_reported_and_the_request_sent_again(
    inlive: Emulator, place: Path, post: Post, body: dict[str, object]
) -> None:
    with with_an_ended_token(inlive, place) as running:
        auth = InliveHttpxAuth(f"unix:{place}/socket")
        answer = post(f"{inlive.url}/v1/rooms/create", auth, **body)
        assert (answer.status_code, answer.json()["data"]["name"]) == (200, "My Room")
        assert [each.status_code for each in answer.history] == [403]
        assert early_mints(running) == 1


def pieces() -> Iterator[bytes]:
    yield ROOM


async def awaited_pieces() -> AsyncIterator[bytes]:
    yield ROOM


@both
def test_a_generator_is_not_sent_again(inlive: Emulator, place: Path, post: Post) -> None:
    content = pieces() if post is blocking else awaited_pieces()
    with with_an_ended_token(inlive, place) as running:
        auth, length = InliveHttpxAuth(f"unix:{place}/socket"), {"Content-Length": str(len(ROOM))}
        answer = post(f"{inlive.url}/v1/rooms/create", auth, content=content, headers=length)
        assert early_mints(running) == 0
    assert answer.status_code == 403
    assert inlive.counts.product == {"expired": 1}


@both
def test_a_redirect_to_another_host_does_not_carry_the_token(
    inlive: Emulator, place: Path, post: Post
) -> None:
    with (
        with_an_ended_token(inlive, place) as running,
        elsewhere(lambda _: Response(403, headers=(EXPIRED,))) as other,
        elsewhere(lambda _: redirect(other.url.replace("localhost", "127.0.0.1"))) as first,
    ):
        answer = post(first.url, InliveHttpxAuth(f"unix:{place}/socket"), content=ROOM)
        assert early_mints(running) == 0
    assert answer.status_code == 403
    assert [request.headers["authorization"][:7] for request in first.received] == ["Bearer "]
    (beyond,) = other.received
    assert "authorization" not in beyond.headers


@both
def test_after_a_redirect_the_last_request_is_repeated_and_only_once(
    inlive: Emulator, place: Path, post: Post
) -> None:
    def answer(request):
        return redirect("/new") if request.path == "/old" else Response(403, headers=(EXPIRED,))

    with with_an_ended_token(inlive, place), elsewhere(answer) as other:
        auth = InliveHttpxAuth(f"unix:{place}/socket")
        assert post(f"{other.url}/old", auth, content=ROOM).status_code == 403
    assert [request.path for request in other.received] == ["/old", "/new", "/new"]
    assert {request.body for request in other.received} == {ROOM}
    assert len({request.headers["authorization"] for request in other.received}) == 2
