"""The client of the Inlive API, against peers on real sockets."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from refresher import __version__
from refresher.clock import SystemClock
from refresher.core.model import Granted, Outcome, SecretStr
from refresher.issuer.client import InliveIssuer
from tests.issuer.ask import KEY, declined, mint, outcomes
from tests.issuer.peer import GRANT, Caller, answering, granting, peer, sending

OK, UNREACHABLE, SERVER_ERROR = Outcome.OK, Outcome.UNREACHABLE, Outcome.SERVER_ERROR

CUT = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"


def test_the_request_is_as_the_api_documents_it() -> None:
    with peer(granting) as issuer:
        mint(issuer.url + "/")
        head, _, body = issuer.requests[0].partition("\r\n\r\n")
    first, *headers = head.split("\r\n")
    assert first == "POST /v1/keys/accesstoken HTTP/1.1"
    assert sorted(headers) == sorted(
        [
            f"Host: 127.0.0.1:{issuer.port}",
            "accept: application/json",
            "Accept-Encoding: identity",
            f"Authorization: Bearer {KEY.reveal()}",
            "Content-Type: application/json",
            "Content-Length: 24",
            f"User-Agent: inlive-token-refresher/{__version__}",
        ]
    )
    assert body == '{"expiry_seconds": 3600}'


def test_a_requested_lifetime_is_rounded_up_to_whole_seconds() -> None:
    with peer(granting) as issuer:
        InliveIssuer(issuer.url, SystemClock()).mint(KEY, 90.25, 5.0)
        assert issuer.requests[0].endswith('{"expiry_seconds": 91}')


def test_a_granted_token_comes_with_the_time_before_its_request() -> None:
    before = SystemClock().now()
    with peer(answering(200, GRANT, "Date: Thu, 01 Jan 1970 00:00:00 GMT")) as issuer:
        result = mint(issuer.url)
    after = SystemClock().now()
    assert result.answer == Granted(SecretStr("T0ken"), SecretStr("r3fresh"), 3600.0)
    assert outcomes(result) == [OK]
    assert before.boot <= result.sent.boot <= result.sent.boot + result.tries[0].seconds <= after.boot
    assert before.wall - 0.5 <= (result.skew or 0) <= after.wall - 0.5


def test_a_response_without_a_date_gives_no_clock_skew() -> None:
    with peer(granting) as issuer:
        assert mint(issuer.url).skew is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(status: int) -> None:
    with peer(granting) as elsewhere, peer(answering(status, b"", f"Location: {elsewhere.url}")) as issuer:
        assert declined(mint(issuer.url)).outcome is Outcome.BAD_RESPONSE
        assert len(issuer.requests) == 1
        assert elsewhere.connections == 0


def test_netrc_does_not_replace_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with peer(granting) as issuer:
        mint(issuer.url)
        assert f"Authorization: Bearer {KEY.reveal()}\r\n" in issuer.requests[0]


def test_credentials_in_the_url_do_not_replace_the_key() -> None:
    with peer(granting) as issuer:
        mint(issuer.url.replace("//", "//somebody:else@"))
        assert f"Authorization: Bearer {KEY.reveal()}\r\n" in issuer.requests[0]


def test_no_cookie_is_kept() -> None:
    with peer(answering(200, GRANT, "Set-Cookie: seen=1; Path=/")) as server:
        issuer = InliveIssuer(server.url, SystemClock())
        for _ in range(2):
            issuer.mint(KEY, 60.0, 5.0)
        assert "cookie" not in server.requests[1].lower()


# --- quick retries


def reset(caller: Caller) -> None:
    caller.request()


@pytest.mark.parametrize(
    ("script", "first"),
    [
        pytest.param(reset, UNREACHABLE, id="a connection closed without an answer"),
        pytest.param(sending(CUT), UNREACHABLE, id="a cut body"),
        pytest.param(sending(CUT[:40]), UNREACHABLE, id="cut headers"),
        pytest.param(answering(502, b"", "Connection: close"), SERVER_ERROR, id="502"),
        pytest.param(answering(504, b"", "Connection: close"), SERVER_ERROR, id="504"),
    ],
)
def test_a_transient_failure_is_retried_at_once(script: object, first: Outcome) -> None:
    with peer(script, granting) as issuer:  # type: ignore[arg-type]
        result = mint(issuer.url)
    assert isinstance(result.answer, Granted)
    assert outcomes(result) == [first, OK]


def test_a_paced_issuer_gets_one_request_an_attempt() -> None:
    with peer(reset, granting) as issuer:
        client = InliveIssuer(issuer.url, clock=SystemClock())
        client.interval = 1.0
        result = client.mint(KEY, 60.0, 5.0)
    assert outcomes(result) == [UNREACHABLE]


def test_the_time_sent_is_that_of_the_last_try() -> None:
    with peer(reset, granting) as issuer:
        begun = SystemClock().now()
        result = mint(issuer.url)
    assert result.sent.boot - begun.boot >= 0.1  # the shortest wait before the second


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, Outcome.BAD_RESPONSE),
        (401, Outcome.KEY_REFUSED),
        (429, Outcome.THROTTLED),
        (500, SERVER_ERROR),
        (503, SERVER_ERROR),
    ],
)
def test_a_lasting_failure_is_not_retried(status: int, outcome: Outcome) -> None:
    with peer(answering(status, b"{}"), granting) as issuer:
        result = mint(issuer.url)
        assert outcomes(result) == [outcome]
        assert declined(result).outcome is outcome
        assert len(issuer.requests) == 1


def test_after_three_tries_the_schedule_takes_over() -> None:
    with peer(answering(502)) as issuer:
        result = mint(issuer.url)
        assert outcomes(result) == [SERVER_ERROR] * 3
        assert len(issuer.requests) == 3


def test_no_retry_starts_without_time_left() -> None:
    with peer(answering(502)) as issuer:
        assert outcomes(mint(issuer.url, budget=0.3)) == [SERVER_ERROR]


def test_a_pooled_connection_that_has_died_costs_one_quick_retry() -> None:
    def once(caller: Caller) -> None:
        caller.request()
        caller.answer(200, GRANT)
        caller.request()  # then closes, like a keep-alive that just expired

    with peer(once, granting) as server:
        issuer = InliveIssuer(server.url, SystemClock())
        assert outcomes(issuer.mint(KEY, 60.0, 5.0)) == [OK]
        assert outcomes(issuer.mint(KEY, 60.0, 5.0)) == [UNREACHABLE, OK]


# --- many threads, start-up, and what must not happen


def test_threads_share_one_pool_of_connections() -> None:
    with peer(granting) as server, ThreadPoolExecutor(8) as pool:
        issuer = InliveIssuer(server.url, SystemClock())
        results = list(pool.map(lambda _: issuer.mint(KEY, 60.0, 5.0), range(64)))
        assert {type(result.answer) for result in results} == {Granted}
        assert server.connections <= 8


@pytest.mark.parametrize("key", ["two\nlines", "t\u00f6k\u00e9n-\u20ac", " leading", "\ud800"])
def test_a_key_that_is_invalid_in_a_header_raises_nothing_and_is_not_shown(key: str) -> None:
    secret = SecretStr.__new__(SecretStr)  # `parse_key` would reject it
    secret._text = key
    with peer(granting) as server:
        result = InliveIssuer(server.url, SystemClock()).mint(secret, 60.0, 5.0)
    assert isinstance(result.answer, Granted) or key.strip() not in result.answer.message


@pytest.mark.parametrize(
    "url", ["https://a..b", "https://" + "a" * 70 + ".test", "ftp://issuer.test", "https://"]
)
def test_an_unusable_url_raises_nothing(url: str) -> None:
    assert declined(mint(url)).outcome is UNREACHABLE


def test_tenacity_is_imported_only_after_a_failure() -> None:
    program = (
        "import sys; from tests.issuer.ask import mint; from tests.issuer.peer import granting, peer\n"
        "with peer(granting) as issuer: mint(issuer.url)\n"
        "print([name for name in ('tenacity', 'http.server') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
