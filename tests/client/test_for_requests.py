"""`InliveAuth`: real calls to the product's API, with tokens that Inlive ends early."""

import io
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from refresher.client import InliveAuth, TokenUnavailableError
from refresher.emulator.server import Emulator
from refresher.http.server.messages import Response
from tests.client.serving import EXPIRED, early_mints, elsewhere, minted, redirect, with_an_ended_token

THREADS = 16
ROOM = b'{"name": "My Room"}'


@pytest.fixture
def file(place: Path, inlive: Emulator) -> Path:
    """Holds a token that has expired at Inlive."""
    (place / "token").write_text(minted(inlive, lifetime=0))
    return place / "token"


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        yield opened


class Meanwhile(HTTPAdapter):
    """Does something while a request is under way: before its response is looked at."""

    def __init__(self, do: Callable[[], object]) -> None:
        super().__init__()
        self._do = do

    def send(self, *given: Any, **named: Any) -> requests.Response:
        response = super().send(*given, **named)
        self._do()
        return response


def renew(file: Path, inlive: Emulator) -> None:
    """A good token gets into the file."""
    file.with_name("new").write_text(minted(inlive))
    file.with_name("new").rename(file)


@pytest.fixture
def renewing(inlive: Emulator, place: Path, session: requests.Session) -> requests.Session:
    """A session that finds a new token in the file after each response."""
    session.mount("http://", Meanwhile(partial(renew, place / "token", inlive)))
    return session


def create(session: requests.Session, inlive: Emulator, body: object, auth: InliveAuth) -> requests.Response:
    return session.post(f"{inlive.url}/v1/rooms/create", data=body, auth=auth, timeout=10)


def test_the_token_takes_the_place_of_any_other(inlive: Emulator, place: Path, session) -> None:
    (place / "token").write_text(minted(inlive))
    session.headers["Authorization"] = "Bearer of-the-caller"
    assert create(session, inlive, ROOM, InliveAuth(place / "token")).json()["data"]["name"] == "My Room"


@pytest.mark.parametrize("body", [ROOM, ROOM.decode(), None, {"name": "a form"}, io.BytesIO(b"skip" + ROOM)])
def test_an_expired_token_is_replaced_and_the_request_sent_again(
    inlive: Emulator, file: Path, renewing, body
) -> None:
    if isinstance(body, io.BytesIO):
        body.seek(4)  # what is before that has not been sent
    answer = create(renewing, inlive, body, InliveAuth(file))
    assert [each.status_code for each in answer.history] == [403]
    assert inlive.counts.product == {"expired": 1, "ok": 1}
    if body is not None and not isinstance(body, dict):
        assert answer.json()["data"]["name"] == "My Room"


def test_a_file_as_the_body_is_sent_whole_again(inlive: Emulator, file: Path, place: Path, renewing) -> None:
    (place / "room.json").write_bytes(ROOM)
    with open(place / "room.json", "rb") as room:
        answer = create(renewing, inlive, room, InliveAuth(file))
    assert (answer.status_code, answer.json()["data"]["name"]) == (200, "My Room")


class Pieces:
    """What can be gone through once, with a known length."""

    def __init__(self) -> None:
        self._pieces = iter([ROOM])

    def __len__(self) -> int:
        return len(ROOM)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


@pytest.mark.parametrize("how", ["generator", "closed file"])
def test_a_body_that_is_gone_is_not_sent_again(inlive: Emulator, file: Path, renewing, how: str) -> None:
    body: object = Pieces()
    if how == "closed file":
        body = io.BytesIO(ROOM)
        renewing.mount("http://", Meanwhile(lambda: (renew(file, inlive), body.close())))
    answer = create(renewing, inlive, body, InliveAuth(file))
    assert (answer.status_code, EXPIRED[0] in answer.headers) == (403, True)
    assert inlive.counts.product == {"expired": 1}


def test_it_tries_again_only_once(inlive: Emulator, file: Path, session) -> None:
    session.mount("http://", Meanwhile(lambda: file.write_text(minted(inlive, lifetime=0))))
    assert create(session, inlive, ROOM, InliveAuth(file)).status_code == 403
    assert inlive.counts.product == {"expired": 2}


def test_without_a_new_token_it_does_not_try_again(inlive: Emulator, file: Path, session, caplog) -> None:
    assert create(session, inlive, ROOM, InliveAuth(file)).status_code == 403
    assert inlive.counts.product == {"expired": 1}
    assert "has expired, and there is no new one yet" in caplog.text


def test_a_403_without_the_header_is_left_alone(inlive: Emulator, place: Path, renewing) -> None:
    (place / "token").write_text("not-of-this-issuer")
    assert create(renewing, inlive, ROOM, InliveAuth(place / "token")).status_code == 403
    assert inlive.counts.product == {"refused": 1}


def test_the_daemon_gets_the_report_and_all_threads_the_new_token(inlive: Emulator, place: Path) -> None:
    auth = InliveAuth(f"unix:{place}/socket")

    def call(_: int) -> int:
        with requests.Session() as session:
            return create(session, inlive, ROOM, auth).status_code

    with with_an_ended_token(inlive, place) as running, ThreadPoolExecutor(THREADS) as pool:
        assert set(pool.map(call, range(THREADS))) == {200}
        assert early_mints(running) == 1


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_to_another_host_does_not_carry_the_token(
    inlive: Emulator, place: Path, session, status: int
) -> None:
    """Neither does its 403 cause a report or a second try."""
    with (
        with_an_ended_token(inlive, place) as running,
        elsewhere(lambda _: Response(403, headers=(EXPIRED,))) as other,
        elsewhere(lambda _: redirect(other.url.replace("localhost", "127.0.0.1"), status)) as first,
    ):
        auth = InliveAuth(f"unix:{place}/socket")
        assert session.post(first.url, data=ROOM, auth=auth, timeout=10).status_code == 403
        assert early_mints(running) == 0
    assert [request.headers["authorization"][:7] for request in first.received] == ["Bearer "]
    (beyond,) = other.received
    assert "authorization" not in beyond.headers


def test_after_a_redirect_on_the_same_host_the_second_request_is_the_one_that_is_repeated(
    inlive: Emulator, file: Path, renewing
) -> None:
    def answer(request):
        if request.path == "/old":
            return redirect("/new")
        expired = request.headers["authorization"] != f"Bearer {file.read_text()}"
        return Response(403, headers=(EXPIRED,)) if expired else Response(200, request.body)

    with elsewhere(answer) as other:
        answer = renewing.post(f"{other.url}/old", data=ROOM, auth=InliveAuth(file), timeout=10)
    assert (answer.status_code, answer.content) == (200, ROOM)
    assert [request.path for request in other.received] == ["/old", "/new", "/new"]


def test_a_request_without_a_token_is_not_sent(inlive: Emulator, place: Path, session) -> None:
    with pytest.raises(TokenUnavailableError):
        create(session, inlive, ROOM, InliveAuth(place / "token"))
    assert inlive.counts.product == {}


def test_no_token_gets_into_a_log_or_a_description(inlive: Emulator, place: Path, session, caplog) -> None:
    auth = InliveAuth(f"unix:{place}/socket")
    with caplog.at_level(logging.DEBUG), with_an_ended_token(inlive, place):
        answer = create(session, inlive, ROOM, auth)
        tokens = [each.request.headers["Authorization"][7:] for each in (answer, *answer.history)]
    assert len(set(tokens)) == 2
    shown = caplog.text + repr(auth) + repr(auth._source) + repr(vars(auth._source))
    assert "/v1/rooms/create" in caplog.text
    assert [token for token in tokens if token in shown] == []
