"""`POST /oauth2/token`: the client credentials grant of RFC 6749, by table."""

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote_plus, urlencode

import pytest

from refresher.core.model import SecretStr
from tests.http.server.site import Received
from tests.web.listener import Listener, a_listener, value

SECRET = "s3cret+of the:clients%"
PATH = "/oauth2/token"
FORM = "application/x-www-form-urlencoded"
GRANT = {"grant_type": "client_credentials"}
CLIENT = {"client_id": "studio", "client_secret": SECRET}


@pytest.fixture
def listener() -> Iterator[Listener]:
    yield from a_listener("studio", "report", client_secret=lambda: SecretStr(SECRET))


@pytest.fixture
def open_listener() -> Iterator[Listener]:
    yield from a_listener("studio", wait=0.1)


def basic(name: str, secret: str) -> dict[str, str]:
    pair = f"{quote_plus(name)}:{quote_plus(secret)}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def raw_basic(name: str, secret: str) -> dict[str, str]:
    """Without the encoding of RFC 6749 §2.3.1, as curl sends it."""
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}"}


def ask(listener: Listener, fields: object, *, content_type: str = FORM, **headers: str) -> Received:
    body = fields if isinstance(fields, bytes) else urlencode(fields).encode()  # type: ignore[arg-type]
    return listener.site.call(PATH, "POST", body, headers={"Content-Type": content_type} | headers)


def test_a_client_gets_the_token_by_either_way_to_authenticate(listener: Listener) -> None:
    token = listener.write(1)
    listener.time += 100
    for answer in (
        ask(listener, GRANT | CLIENT),
        ask(listener, GRANT, **basic("studio", SECRET)),
        ask(listener, GRANT, **raw_basic("studio", SECRET)),
        ask(listener, GRANT | {"client_id": "studio", "scope": "x"}, **basic("studio", SECRET)),
        ask(listener, GRANT | CLIENT, content_type=f"{FORM}; charset=UTF-8"),
    ):
        assert answer.status == 200
        assert json.loads(answer.body) == {
            "access_token": value(token),
            "token_type": "Bearer",
            "expires_in": 3600 - 100 - 60,
        }
        assert answer.headers["Content-Type"] == "application/json"
        assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")


@pytest.mark.parametrize(("age", "expires_in"), [(0, 3540), (3538, 2), (3539.5, 1), (3540, 1), (3599, 1)])
def test_a_client_asks_again_a_minute_before_the_expiry(
    listener: Listener, age: float, expires_in: int
) -> None:
    listener.write(1)
    listener.time += age
    assert json.loads(ask(listener, GRANT | CLIENT).body)["expires_in"] == expires_in


@pytest.mark.parametrize(
    ("fields", "headers", "error"),
    [
        (CLIENT, {}, "invalid_request"),
        (CLIENT | {"grant_type": ""}, {}, "invalid_request"),
        (CLIENT | {"grant_type": "password"}, {}, "unsupported_grant_type"),
        (CLIENT | {"grant_type": "refresh_token"}, {}, "unsupported_grant_type"),
        ([*GRANT.items(), *GRANT.items(), *CLIENT.items()], {}, "invalid_request"),
        (b"grant_type=%ff", {}, "invalid_request"),
        (b"\xff", {}, "invalid_request"),
        (b"&".join(b"f%d=1" % number for number in range(100)), {}, "invalid_request"),
        (GRANT | CLIENT, basic("studio", SECRET), "invalid_request"),
        (GRANT | {"client_id": "report"}, basic("studio", SECRET), "invalid_request"),
        (GRANT, {}, "invalid_client"),
        (GRANT | {"client_id": "studio"}, {}, "invalid_client"),
        (GRANT | CLIENT | {"client_secret": "wrong"}, {}, "invalid_client"),
        (GRANT | CLIENT | {"client_secret": SECRET + " "}, {}, "invalid_client"),
        (GRANT | CLIENT | {"client_id": "other"}, {}, "invalid_client"),
        (GRANT | {"client_secret": SECRET}, {}, "invalid_client"),
        (GRANT, basic("studio", "wrong"), "invalid_client"),
        (GRANT, basic("studio", ""), "invalid_client"),
        (GRANT, {"Authorization": f"Bearer {SECRET}"}, "invalid_client"),
        (GRANT, {"Authorization": "Basic !"}, "invalid_client"),
        (GRANT, {"Authorization": "Basic " + base64.b64encode(b"studio:%ff").decode()}, "invalid_client"),
        (GRANT, {"Authorization": "Basic"}, "invalid_client"),
    ],
)
def test_a_wrong_request_gets_the_error_of_the_standard(
    listener: Listener, fields: object, headers: dict[str, str], error: str
) -> None:
    listener.write(1)
    answer = ask(listener, fields, **headers)
    document = json.loads(answer.body)
    assert document["error"] == error
    assert answer.status == (401 if error == "invalid_client" else 400)
    assert (answer.headers["WWW-Authenticate"] is not None) == (error == "invalid_client")
    assert answer.headers["Cache-Control"] == "no-store"
    assert not set(document["error_description"]) - {chr(n) for n in range(0x20, 0x7F)} - set('"\\')
    assert b"acc3ss" not in answer.body
    assert SECRET not in document["error_description"]


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data", "", "text/plain"])
def test_only_a_form_is_accepted(listener: Listener, content_type: str) -> None:
    listener.write(1)
    answer = ask(listener, GRANT | CLIENT, content_type=content_type)
    assert (answer.status, json.loads(answer.body)["error"]) == (400, "invalid_request")


def test_only_a_client_with_the_secret_learns_the_names_of_tokens(listener: Listener) -> None:
    assert b"report" in ask(listener, GRANT | CLIENT | {"client_id": "x"}).body
    assert b"report" not in ask(listener, GRANT | {"client_id": "x", "client_secret": "x"}).body


def test_without_a_configured_secret_none_is_needed(open_listener: Listener) -> None:
    token = open_listener.write(1)
    for answer in (
        ask(open_listener, GRANT | {"client_id": "studio"}),
        ask(open_listener, GRANT, **basic("studio", "anything")),
    ):
        assert json.loads(answer.body)["access_token"] == value(token)
    for name in ("", "other"):
        assert ask(open_listener, GRANT | {"client_id": name}).status == 401


def test_without_a_valid_token_the_response_is_503_with_retry_after(open_listener: Listener) -> None:
    answer = ask(open_listener, GRANT | {"client_id": "studio"})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    open_listener.write(1)
    open_listener.time += 3600
    assert ask(open_listener, GRANT | {"client_id": "studio"}).status == 503


def test_while_the_secret_cannot_be_read_nobody_gets_a_token() -> None:
    for listener in a_listener("studio", client_secret=lambda: None):
        listener.write(1)
        for secret in ("", "None", SECRET):
            assert ask(listener, GRANT | {"client_id": "studio", "client_secret": secret}).status == 503


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://localhost"}])
def test_web_pages_are_refused_even_with_the_secret(listener: Listener, headers: dict[str, str]) -> None:
    listener.write(1)
    answer = ask(listener, GRANT | CLIENT, **headers)
    assert answer.status == 403
    assert b"acc3ss" not in answer.body


def test_only_post_is_accepted(listener: Listener) -> None:
    answer = listener.get(PATH + "?" + urlencode(GRANT | CLIENT))
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
