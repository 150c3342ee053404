"""Responses of a broken or hostile issuer over a real socket. The worst result is a failed mint."""

import gzip
import logging
import os
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refresher.clock import SystemClock
from refresher.core.issuer_response import LONGEST_RESPONSE
from refresher.core.model import Granted, Outcome, SecretStr
from refresher.issuer.client import InliveIssuer
from tests.issuer.ask import KEY, declined, mint, outcomes
from tests.issuer.peer import GRANT, Script, answering, granting, peer, sending

BAD_RESPONSE, THROTTLED, SERVER_ERROR = Outcome.BAD_RESPONSE, Outcome.THROTTLED, Outcome.SERVER_ERROR

JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNK = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
BOMB = gzip.compress(GRANT + b" " * (64 << 20), compresslevel=9)  # 64 KiB that become 64 MiB


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(b"[" * 100_000, "not JSON", id="100,000 deep, without an end"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not JSON", id="100,000 objects deep"),
        pytest.param(b'{"data": {"access_token": "\xff\xfe"}}', "not JSON", id="invalid UTF-8"),
        pytest.param(b'{"data": {"access_token": "a\\r\\nb"}}', "invalid characters", id="CR LF"),
        pytest.param(b'{"data": {"access_token": 12345}}', "not a text", id="a number"),
        pytest.param(b'{"data": {"access_token": ""}}', "no access token", id="an empty token"),
        pytest.param(b'{"data": null}', "no data", id="no data"),
        pytest.param(b'{"ok": false, "data": {"access_token": "T0ken"}}', "reports a failure", id="not ok"),
        pytest.param(b"", "not JSON", id="an empty body"),
        pytest.param(b" " * (LONGEST_RESPONSE + 1), "longer than 1048576 bytes", id="over 1 MiB"),
    ],
)
def test_a_success_without_a_usable_token_is_a_bad_response(body: bytes, why: str) -> None:
    with peer(answering(200, body)) as issuer:
        result = mint(issuer.url)
    assert outcomes(result) == [BAD_RESPONSE]
    assert why in declined(result).message


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(sending(JSON_HEAD, b"\r\n", b" " * (2 * LONGEST_RESPONSE)), id="delimited by the close"),
        pytest.param(sending(JSON_HEAD, b"Transfer-Encoding: chunked\r\n\r\n", CHUNK * 128), id="chunked"),
        pytest.param(
            sending(JSON_HEAD, b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"Trailer: x\r\n" * 200_000),
            id="trailers",
        ),
    ],
)
def test_an_endless_response_is_read_up_to_1_mib(script: Script) -> None:
    with peer(script) as issuer:
        result = mint(issuer.url)
    assert outcomes(result) == [BAD_RESPONSE]
    assert "longer than 1048576 bytes" in declined(result).message


def test_headers_of_nearly_128_kib_are_read() -> None:
    headers = [f"X-{each}: {'x' * 40_000}" for each in range(3)]
    with peer(answering(200, GRANT, *headers)) as issuer:
        assert isinstance(mint(issuer.url).answer, Granted)


EMPTY_LISTS = (LONGEST_RESPONSE - 500) // 3
LARGE = {
    "many objects": answering(200, b'{"data": [%s[]]}' % (b"[]," * EMPTY_LISTS)),
    "many headers": answering(200, GRANT, *(f"X-{each}: {'x' * 10_000}" for each in range(90))),
    "a little more than is read": answering(200, b" " * LONGEST_RESPONSE),
}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports the peak memory of a process")
@pytest.mark.parametrize("script", LARGE.values(), ids=LARGE)
def test_a_burst_of_large_responses_takes_little_memory(script: Script) -> None:
    """In a separate process, with the image's environment. An engine sends 16 requests at once, and as many
    again while those are slow. Its container has 128 MiB."""
    program = (
        "import re, sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from refresher.clock import SystemClock; from refresher.issuer.client import InliveIssuer\n"
        "from tests.issuer.ask import KEY\n"
        "issuer = InliveIssuer(sys.argv[1], SystemClock(), pool_size=32)\n"
        "with ThreadPoolExecutor(32) as pool:\n"
        "    list(pool.map(lambda _: issuer.mint(KEY, 3600.0, 30.0), range(64)))\n"
        "print(re.search(r'VmHWM:\\s*([0-9]+) kB', open('/proc/self/status').read())[1])"
    )
    with peer(script) as server:
        ended = subprocess.run(
            [sys.executable, "-c", program, server.url],
            env=os.environ | {"MALLOC_ARENA_MAX": "2"},
            capture_output=True,
            text=True,
            check=True,
        )
    assert int(ended.stdout) < 110 * 1024


@pytest.mark.parametrize("status", [200, 307, 500])
def test_a_compressed_body_is_not_unpacked(status: int) -> None:
    headers = ("Content-Encoding: gzip", "Location: http://127.0.0.1:1/")
    with peer(answering(status, BOMB, *headers)) as issuer:
        tracemalloc.start()
        result = mint(issuer.url)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert outcomes(result) == [SERVER_ERROR if status == 500 else BAD_RESPONSE]
    assert most < 16 << 20


@pytest.mark.parametrize(
    ("status", "header", "outcome", "wait"),
    [
        (429, "Retry-After: 120", THROTTLED, 120.0),
        (503, "Retry-After: 120", THROTTLED, 120.0),
        (429, "Retry-After: soon", THROTTLED, None),
        (503, "Retry-After: soon", SERVER_ERROR, None),
        (429, "X-Nothing: 1", THROTTLED, None),
        (401, "Retry-After: 120", BAD_RESPONSE, None),
    ],
)
def test_retry_after_is_passed_on(status: int, header: str, outcome: Outcome, wait: float | None) -> None:
    with peer(answering(status, b"", header)) as issuer:
        result = mint(issuer.url)
    assert outcomes(result) == [outcome]
    assert declined(result).retry_after == wait


def test_a_retry_after_date_counts_from_the_date_of_the_response() -> None:
    def at(minute: int) -> str:
        return format_datetime(datetime(2001, 2, 3, 4, minute, tzinfo=UTC), usegmt=True)

    with peer(answering(503, b"", f"Date: {at(5)}", f"Retry-After: {at(7)}")) as issuer:
        assert declined(mint(issuer.url)).retry_after == 120.0


def test_a_repeated_token_is_passed_on_to_the_core() -> None:
    with peer(granting) as server:
        issuer = InliveIssuer(server.url, SystemClock())
        first, second = (issuer.mint(KEY, 60.0, 5.0).answer for _ in range(2))
    assert first == second == Granted(SecretStr("T0ken"), SecretStr("r3fresh"), 60.0)


@pytest.mark.parametrize("interim", ["100 Continue", "102 Processing", "103 Early Hints"])
def test_an_interim_response_is_skipped(interim: str) -> None:
    final = JSON_HEAD + b"Content-Length: %d\r\n\r\n" % len(GRANT) + GRANT
    with peer(sending(f"HTTP/1.1 {interim}\r\nLink: x\r\n\r\n".encode(), final)) as issuer:
        assert isinstance(mint(issuer.url).answer, Granted)


def test_a_malformed_header_is_skipped_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    stray = sending(JSON_HEAD, b"Content-Length: %d\r\nSet-Cookie S3cret\r\n\r\n" % len(GRANT), GRANT)
    with caplog.at_level(logging.DEBUG), peer(stray) as issuer:
        assert isinstance(mint(issuer.url).answer, Granted)
    assert "S3cret" not in caplog.text


_LINES = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"\r\n", b"{}", GRANT,
     b"HTTP/1.1 100 Continue\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffff\r\n-5\r\n",
     b"Content-Type: application/json\r\n", b"Location: //\xff\r\n", b"\0", b": \r\n", b" folded\r\n"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(_LINES | st.binary(max_size=20), max_size=8).map(b"".join))
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc")
@example(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed\r\n\r\n")
def test_any_bytes_are_a_token_or_a_printable_failure(octets: bytes) -> None:
    with peer(sending(octets)) as issuer:
        result = mint(issuer.url, budget=0.2)  # too short for a second try
    assert len(result.tries) == 1
    assert isinstance(result.answer, Granted) or declined(result).message.isprintable()
