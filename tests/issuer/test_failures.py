"""What is told when no answer came: what failed, with whom, and what to do about it."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from refresher.clock import SystemClock
from refresher.core.model import Declined, Granted, Outcome
from refresher.issuer.client import InliveIssuer
from tests.issuer.ask import KEY, declined, mint, outcomes
from tests.issuer.conftest import tls_for
from tests.issuer.peer import Caller, answering, granting, peer, sending

UNREACHABLE = Outcome.UNREACHABLE


def test_nobody_listening_is_a_refused_connection() -> None:
    with peer(granting) as gone:
        url = gone.url
    result = mint(url)
    assert outcomes(result) == [UNREACHABLE] * 3
    assert declined(result).message == f"{url.removeprefix('http://')}: Connection refused"


def test_a_closed_connection_is_told_as_such() -> None:
    with peer(lambda caller: caller.request()) as issuer:
        message = declined(mint(issuer.url)).message
    assert message == f"127.0.0.1:{issuer.port}: closed the connection without an answer"


def test_a_cut_answer_is_told_as_such() -> None:
    with peer(sending(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")) as issuer:
        message = declined(mint(issuer.url)).message
    assert message == f"the answer of 127.0.0.1:{issuer.port} was cut off"


def test_a_name_that_cannot_be_resolved_is_told_as_such() -> None:
    result = mint("http://issuer.invalid")  # RFC 6761, section 6.4
    assert outcomes(result) == [UNREACHABLE]
    assert declined(result).message.startswith("the name of issuer.invalid cannot be resolved: ")


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2 S3cret\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 OK S3cret\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"S3cret: 1\r\n" * 200 + b"\r\n", id="200 headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nS3cret: " + b"x" * 70_000 + b"\r\n\r\n", id="an endless header"),
    ],
)
def test_what_is_not_http_is_a_bad_response_that_is_not_shown(octets: bytes) -> None:
    with peer(sending(octets)) as issuer:
        result = mint(issuer.url)
    assert outcomes(result) == [Outcome.BAD_RESPONSE]
    assert declined(result).message == f"127.0.0.1:{issuer.port} does not speak HTTP"


# --- TLS


def test_an_issuer_vouched_for_by_the_ca_file_is_trusted(tls: ssl.SSLContext, ca_file: str) -> None:
    with peer(granting, tls=tls) as issuer:
        assert isinstance(mint(issuer.url, ca_file=ca_file).answer, Granted)


def test_a_private_authority_is_not_trusted_unless_named(tls: ssl.SSLContext) -> None:
    with peer(granting, tls=tls) as issuer:
        result = mint(issuer.url)
        assert issuer.requests == []
    assert outcomes(result) == [UNREACHABLE]
    message = declined(result).message
    assert message.startswith(f"the TLS certificate of 127.0.0.1:{issuer.port} could not be verified: ")
    assert message.endswith("; if a private authority did, name its certificate in issuer.ca_file")


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_no_variable_of_another_program_says_whom_to_trust(
    variable: str, tls: ssl.SSLContext, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, ca_file)
    with peer(granting, tls=tls) as issuer:
        message = declined(mint(issuer.url)).message
    assert "could not be verified" in message
    assert message.endswith(f" in issuer.ca_file ({variable} is not read: SSL_CERT_FILE is)")


def test_an_authority_other_than_that_of_the_ca_file_is_told_with_the_file(
    tls: ssl.SSLContext, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    with peer(granting, tls=tls) as issuer:
        message = declined(mint(issuer.url, ca_file=str(path))).message
    assert f"; no authority in {path} has signed it; " in message
    assert message.endswith("add its certificate there")


def test_a_certificate_for_another_name_is_refused(authority: trustme.CA, ca_file: str) -> None:
    with peer(granting, tls=tls_for(authority, "other.test")) as issuer:
        message = declined(mint(issuer.url, ca_file=ca_file)).message
        assert issuer.requests == []
    assert "could not be verified: IP address mismatch" in message
    assert "ca_file" not in message


def test_an_expired_certificate_is_refused(authority: trustme.CA, ca_file: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC)).configure_cert(context)
    with peer(granting, tls=context) as issuer:
        message = declined(mint(issuer.url, ca_file=ca_file)).message
        assert issuer.requests == []
    assert message.endswith("could not be verified: certificate has expired")


def test_an_issuer_that_speaks_no_tls_is_told_as_such() -> None:
    def in_the_clear(caller: Caller) -> None:
        caller.sock.recv(65536)
        caller.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with peer(in_the_clear) as issuer:
        result = mint(issuer.url.replace("http:", "https:"))
    assert outcomes(result) == [UNREACHABLE]
    told = f"TLS with 127.0.0.1:{issuer.port} failed: wrong version number; does it speak HTTPS there?"
    assert declined(result).message == told


def test_an_issuer_that_speaks_tls_and_was_asked_in_plain_text_is_told_as_such() -> None:
    alert = b"\x15\x03\x01\x00\x02\x02\x46"  # OpenSSL's, to "POST /v1…"
    with peer(sending(alert)) as issuer:
        result = mint(issuer.url)
    assert outcomes(result) == [Outcome.BAD_RESPONSE]
    told = f"127.0.0.1:{issuer.port} speaks TLS: should the URL begin with https://?"
    assert declined(result).message == told


def test_the_url_that_was_asked_is_told_without_its_password_and_query() -> None:
    with peer(granting) as gone:
        port = gone.port
    issuer = InliveIssuer(f"http://user:s3same@127.0.0.1:{port}/inlive", SystemClock())
    told = issuer.mint(KEY, 60.0, 5.0).answer
    assert isinstance(told, Declined)
    assert told.message.endswith(f" (asked: http://127.0.0.1:{port}/inlive/v1/keys/accesstoken)")
    with peer(answering(404)) as portal:
        told = InliveIssuer(portal.url, SystemClock()).mint(KEY, 60.0, 5.0).answer
        assert isinstance(told, Declined)
        assert told.message == f"404 (asked: {portal.url}/v1/keys/accesstoken)"


def test_a_handshake_that_is_broken_off_is_tried_again(ca_file: str) -> None:
    def hello(caller: Caller) -> None:
        caller.sock.recv(65536)

    with peer(hello) as issuer:
        result = mint(issuer.url.replace("http:", "https:"), ca_file=ca_file)
    assert outcomes(result) == [UNREACHABLE] * 3
    assert f"127.0.0.1:{issuer.port}" in declined(result).message


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file or directory"), (b"no PEM", "no certificates in it")]
)
def test_a_ca_file_that_cannot_be_used_is_named(content: bytes | None, why: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    result = mint("https://127.0.0.1:1", ca_file=str(path))
    assert outcomes(result) == [UNREACHABLE]
    assert declined(result).message == f"the CA file {path} cannot be used: {why}"
