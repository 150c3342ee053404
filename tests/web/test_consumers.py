"""The consumers' listener on loopback: its responses, its refusals, and the reports that it passes on."""

import json
import threading

import pytest

from refresher.core.model import SecretStr
from refresher.web.consumers import LARGEST_BODY
from tests.commands.daemon import eventually
from tests.http.server.site import DEADLINE, Received
from tests.outputs.tokens import a_token
from tests.web.listener import ASKED, MINT, Listener, value

# GET /token


@pytest.mark.parametrize("path", ["/token/studio", "/token", "/token/"])
def test_the_token_is_served_as_json_that_must_not_be_stored(listener: Listener, path: str) -> None:
    token = listener.write(1)
    answer = listener.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert (answer.headers["Cache-Control"], answer.headers["ETag"]) == (
        "no-store",
        f'"{token.facts.fingerprint}"',
    )
    document = json.loads(answer.body)
    assert (document["access_token"], document["token_type"]) == (value(token), "Bearer")
    assert document["expires_in"] == 3600
    assert b"r3fresh" not in answer.body


def test_a_client_that_has_the_token_already_gets_304(listener: Listener) -> None:
    etag = f'"{listener.write(1).facts.fingerprint}"'
    assert listener.get("/token", If_None_Match=etag).status == 304
    listener.write(2)
    assert listener.get("/token", If_None_Match=etag).status == 200


@pytest.mark.parametrize("path", ["/token/studio", "/authorize/studio"])
def test_without_a_valid_token_the_response_is_503_with_retry_after(listener: Listener, path: str) -> None:
    answer = listener.get(path)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    listener.write(1)
    assert listener.get(path).status == 200
    listener.time += 3600
    assert listener.get(path).status == 503


# Paths and methods


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/token/other", 404),
        ("GET", "/token/studio/more", 404),
        ("GET", "/tokens/studio", 404),
        ("GET", "//studio", 404),
        ("POST", "/token/studio", 405),
        ("DELETE", "/token/studio", 405),
        ("GET", "/expired/studio", 405),
        ("GET", MINT, 405),
        ("POST", "/v1/keys/accesstoken/x", 404),
        ("HEAD", "/token/studio", 200),
        ("GET", "/authorize/other", 404),
    ],
)
def test_unknown_paths_names_and_methods_are_refused(
    listener: Listener, method: str, path: str, status: int
) -> None:
    listener.write(1)
    answer = listener.site.call(path, method, headers=ASKED)
    assert answer.status == status
    assert not listener.reports


def test_with_several_tokens_a_request_must_name_one(several: Listener) -> None:
    several.write(1), several.write(2, "refreshing")
    assert several.get("/token").status == 404
    assert b"acc3ss-2-" in several.get("/token/refreshing").body
    nameless = several.post(MINT, {"expiry_seconds": 60}, Authorization="Bearer some-key")
    assert (nameless.status, json.loads(nameless.body)["ok"]) == (404, False)
    assert b"some-key" not in nameless.body
    named = json.loads(several.post(MINT, {}, Authorization="Bearer refreshing").body)
    assert named["data"] == {"access_token": "acc3ss-2-", "refresh_token": "r3fresh-2-"}


# Refusals


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/token", {}),
        ("GET", "/token", {"X-Token-Refresher": "0"}),
        ("GET", "/authorize", {}),
        ("POST", "/authorize", {}),
        ("HEAD", "/token", {}),
        ("GET", "/token", ASKED | {"Host": "evil.example"}),
        ("GET", "/token", ASKED | {"Host": "192.0.2.7"}),
        ("GET", "/token", ASKED | {"Host": "localhost.evil.example:9470"}),
        ("GET", "/token", ASKED | {"Host": "127.0.0.1@evil.example"}),
        ("GET", "/token", ASKED | {"Host": ""}),
        ("GET", "/token", ASKED | {"Origin": "http://localhost"}),
        ("GET", "http://evil.example/token", ASKED),
        ("POST", "/expired", {"Host": "evil.example"}),
        ("POST", "/expired", {"Origin": "https://evil.example"}),
        ("POST", "/expired", {"Origin": "null"}),
        ("POST", MINT, {"Host": "evil.example"}),
        ("POST", MINT, {"Origin": "https://evil.example"}),
        ("OPTIONS", "/token", {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}),
    ],
)
def test_web_pages_and_fetched_urls_are_refused(
    listener: Listener, method: str, path: str, headers: dict[str, str]
) -> None:
    """A page sends a wrong Host if its own name resolves to this machine (DNS rebinding)."""
    token = listener.write(1)
    body = json.dumps({"access_token": value(token)}).encode() if method == "POST" else None
    answer = listener.site.call(path, method, body, headers=headers)
    assert answer.status == 403
    assert b"acc3ss" not in answer.body
    assert "Authorization" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("Access-Control")]
    assert not listener.reports


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9470", "127.0.0.1", "127.0.0.53:1", "[::1]:9470"])
def test_every_name_of_this_machine_is_accepted(listener: Listener, host: str) -> None:
    listener.write(1)
    assert listener.get("/token", Host=host).status == 200


def test_a_large_body_is_refused_before_it_is_sent(listener: Listener) -> None:
    head = f"POST /expired HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2**30}\r\n\r\n"
    assert listener.site.raw(head.encode()).startswith(b"HTTP/1.1 413 ")
    head = f"POST /expired HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LARGEST_BODY + 1}\r\n\r\n"
    assert listener.site.raw(head.encode()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"X: " + b"a" * 2**20, 431),
        (b"\r\n".join(b"X-%d: 1" % number for number in range(10_000)), 431),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 2", 400),
    ],
    ids=["one long header", "many headers", "two lengths"],
)
def test_a_hostile_head_is_refused(listener: Listener, head: bytes, status: int) -> None:
    answer = listener.site.raw(b"POST /expired HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n{}")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


# Reports


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"access_token": 1}', b"\xff", b"[" * 16000, b'"x"'])
def test_a_report_without_a_token_is_refused(listener: Listener, body: bytes) -> None:
    listener.write(1)
    assert listener.site.call("/expired", "POST", body).status == 400
    assert not listener.reports


def test_a_report_about_an_older_token_gets_the_current_one_at_once(listener: Listener) -> None:
    old, new = listener.write(1), listener.write(2)
    for document in (
        {"access_token": value(old)},
        {"fingerprint": old.facts.fingerprint},
        {"fingerprint": ""},
    ):
        answer = listener.post("/expired/studio", document)
        assert json.loads(answer.body)["access_token"] == value(new)
    assert not listener.reports


@pytest.mark.parametrize("by", ["access_token", "fingerprint"])
def test_a_report_about_the_current_token_is_passed_on_and_gets_the_next(listener: Listener, by: str) -> None:
    token = listener.write(1)
    listener.time += 400  # older than the schedule demands
    answers: list[Received] = []
    document = {by: value(token) if by == "access_token" else token.facts.fingerprint}
    callers = [
        threading.Thread(target=lambda: answers.append(listener.post("/expired", document)))
        for _ in range(20)
    ]
    for caller in callers:
        caller.start()
    assert listener.reported.wait(DEADLINE)
    new = listener.write(2)
    for caller in callers:
        caller.join(DEADLINE)
    assert [json.loads(answer.body)["access_token"] for answer in answers] == [value(new)] * 20
    assert listener.reports == [("studio", token.facts.fingerprint)]


def test_a_report_about_a_token_that_is_too_young_gets_503_with_the_wait(listener: Listener) -> None:
    token = listener.write(1)
    listener.time += 100
    answer = listener.post("/expired", {"access_token": value(token)})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "260")
    assert listener.reports == [("studio", token.facts.fingerprint)]


def test_repeated_reports_are_passed_on_once_a_second(listener: Listener) -> None:
    """A caller in a loop sends thousands, and the engine must not work for each."""
    token = listener.write(1)
    for _ in range(50):
        listener.post("/expired", {"access_token": value(token)})
    assert len(listener.reports) == 1
    listener.time += 1.0
    listener.post("/expired", {"access_token": value(token)})
    assert len(listener.reports) == 2


# GET /authorize


@pytest.mark.parametrize("path", ["/authorize/studio", "/authorize", "/authorize/studio/v1/rooms?x=y"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_a_proxy_gets_the_header_for_its_requests(listener: Listener, path: str, method: str) -> None:
    """Envoy uses the method of the original request, and appends its path."""
    token = listener.write(1)
    answer = listener.site.call(path, method, headers=ASKED)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Authorization"] == f"Bearer {value(token)}"
    assert answer.headers["Cache-Control"] == "no-store"


def authorized(answer: Received) -> str | None:
    return answer.headers["Authorization"]


def test_a_proxys_report_about_an_older_token_causes_no_mint(
    listener: Listener,
) -> None:
    etag = f'"{listener.write(1).facts.fingerprint}"'
    new = listener.write(2)
    listener.time += 400
    answer = listener.get("/authorize", X_Access_Token_Expired=etag)
    assert authorized(answer) == f"Bearer {value(new)}"
    assert not listener.reports


@pytest.mark.parametrize("named", [True, False])
def test_a_proxys_report_about_the_current_token_gets_the_next(listener: Listener, named: bool) -> None:
    token = listener.write(1)
    listener.time += 400
    answers: list[Received] = []
    reported = token.facts.fingerprint if named else "true"
    proxy = threading.Thread(
        target=lambda: answers.append(listener.get("/authorize", X_Access_Token_Expired=reported))
    )
    proxy.start()
    assert listener.reported.wait(DEADLINE)
    new = listener.write(2)
    proxy.join(DEADLINE)
    assert authorized(answers[0]) == f"Bearer {value(new)}"


def test_a_report_without_a_name_is_about_an_older_token_if_this_one_is_young(listener: Listener) -> None:
    """If a thousand requests fail with one token, the last reports arrive after the next token."""
    token = listener.write(1)
    answer = listener.get("/authorize", X_Access_Token_Expired="true")
    assert authorized(answer) == f"Bearer {value(token)}"
    assert not listener.reports


# POST /v1/keys/accesstoken


@pytest.mark.parametrize("credential", ["Bearer no-key-at-all", "Bearer studio", "Bearer", None])
def test_a_program_that_mints_gets_the_current_token(listener: Listener, credential: str | None) -> None:
    token = listener.write(1)
    headers = {} if credential is None else {"Authorization": credential}
    answer = listener.post(MINT, {"expiry_seconds": 3600}, **headers)
    document = json.loads(answer.body)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert (document["code"], document["ok"], document["data"]["access_token"]) == (200, True, value(token))
    assert b"r3fresh" not in answer.body


def test_the_substitute_for_the_refresh_token_reports_an_expired_token(listener: Listener) -> None:
    """The SDK calls the mint path with it when its token has expired."""
    old = listener.write(1)
    substitute = json.loads(listener.post(MINT, {}).body)["data"]["refresh_token"]
    answer = listener.post(MINT, {}, Authorization=f"Bearer {substitute}")
    assert (answer.status, listener.reports) == (503, [("studio", old.facts.fingerprint)])
    new = listener.write(2)
    answer = listener.post(MINT, {}, Authorization=f"Bearer {substitute}")
    assert json.loads(answer.body)["data"]["access_token"] == value(new)


def test_a_served_refresh_token_reports_an_expired_token_too(several: Listener) -> None:
    token = several.write(1, "refreshing")
    several.post(MINT, {}, Authorization="Bearer refreshing:x")
    assert not several.reports
    assert token.refresh_token == SecretStr("r3fresh-1-")
    several.post(MINT, {}, Authorization="Bearer r3fresh-1-")
    assert several.reports == [("refreshing", token.facts.fingerprint)]


@pytest.mark.parametrize("path", ["/expired", MINT])
def test_a_request_that_waits_too_long_gets_503_with_retry_after(impatient: Listener, path: str) -> None:
    token = a_token(1)
    if path == "/expired":
        token = impatient.write(1)
        impatient.time += 400
    answer = impatient.post(path, {"access_token": value(token)})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


def test_a_program_that_calls_before_the_first_token_waits_for_it(listener: Listener) -> None:
    answers: list[Received] = []
    program = threading.Thread(target=lambda: answers.append(listener.post(MINT, {})))
    program.start()
    eventually(lambda: listener.served["studio"]._waiting, "it waits")
    token = listener.write(1)
    program.join(DEADLINE)
    assert json.loads(answers[0].body)["data"]["access_token"] == value(token)


def test_no_response_repeats_what_a_client_sent(listener: Listener) -> None:
    listener.write(1)
    secret = "s3cret-of-the-client"
    for path in ("/token", "/token/x", f"/{secret}", f"/token/{secret}", MINT, "/expired"):
        for method in ("GET", "POST"):
            answer = listener.site.call(
                path, method, secret.encode(), headers=ASKED | {"Authorization": f"Bearer {secret}"}
            )
            assert secret.encode() not in answer.body + str(answer.headers).encode()
