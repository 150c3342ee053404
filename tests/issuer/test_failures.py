"""The issuer's client adds retries, the URL and advice to a failed request (tests/http)."""

import ssl
from pathlib import Path

import pytest
import trustme

from refresher.clock import SystemClock
from refresher.core.model import Declined, Granted, Outcome
from refresher.issuer.client import InliveIssuer
from tests.issuer.ask import KEY, declined, mint, outcomes
from tests.issuer.peer import Caller, Script, answering, granting, peer, sending

UNREACHABLE = Outcome.UNREACHABLE


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param(sending(), [UNREACHABLE] * 3, id="no answer"),
        pytest.param(sending(b"HTTP/1.1 200 OK\r\n\r\n"[:-2]), [UNREACHABLE] * 3, id="half an answer"),
        pytest.param(sending(b"SSH-2.0-OpenSSH_9.2\r\n"), [Outcome.BAD_RESPONSE], id="another protocol"),
        pytest.param(sending(b"\x15\x03\x01\x00\x02\x02\x46"), [Outcome.BAD_RESPONSE], id="TLS"),
    ],
)
def test_a_failure_has_an_outcome_and_is_retried_if_transient(
    script: Script, expected: list[Outcome]
) -> None:
    with peer(script) as issuer:
        assert outcomes(mint(issuer.url)) == expected


def test_a_refused_connection_is_retried_but_an_unknown_name_is_not() -> None:
    with peer(granting) as gone:
        pass
    assert outcomes(mint(gone.url)) == [UNREACHABLE] * 3
    assert outcomes(mint("http://issuer.invalid")) == [UNREACHABLE]  # RFC 6761, section 6.4


# --- TLS


def test_an_issuer_of_an_authority_in_the_ca_file_is_trusted(tls: ssl.SSLContext, ca_file: str) -> None:
    with peer(granting, tls=tls) as issuer:
        assert isinstance(mint(issuer.url, ca_file=ca_file).answer, Granted)


def test_a_private_authority_is_not_trusted_unless_named(tls: ssl.SSLContext) -> None:
    with peer(granting, tls=tls) as issuer:
        result = mint(issuer.url)
        assert issuer.requests == []
    assert outcomes(result) == [UNREACHABLE]
    message = declined(result).message
    assert message.startswith(f"the TLS certificate of 127.0.0.1:{issuer.port} could not be verified: ")
    assert message.endswith(
        "; if a private authority signed it, set ca_file of the issuer to a file with its certificate"
    )


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_ca_variables_of_other_programs_are_ignored(
    variable: str, tls: ssl.SSLContext, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, ca_file)
    with peer(granting, tls=tls) as issuer:
        message = declined(mint(issuer.url)).message
    assert "could not be verified" in message
    assert message.endswith(f" ({variable} is ignored, SSL_CERT_FILE is used)")


def test_a_server_of_another_authority_is_reported_with_the_ca_file(
    tls: ssl.SSLContext, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    with peer(granting, tls=tls) as issuer:
        message = declined(mint(issuer.url, ca_file=str(path))).message
    assert f"; no authority in {path} has signed it; " in message
    assert message.endswith("add its certificate to that file")


def test_a_message_has_the_url_without_its_password() -> None:
    with peer(granting) as gone:
        port = gone.port
    issuer = InliveIssuer(f"http://user:s3same@127.0.0.1:{port}/inlive", SystemClock())
    told = issuer.mint(KEY, 60.0, 5.0).answer
    assert isinstance(told, Declined)
    assert told.message.endswith(f" (URL: http://127.0.0.1:{port}/inlive/v1/keys/accesstoken)")
    with peer(answering(404)) as portal:
        told = InliveIssuer(portal.url, SystemClock()).mint(KEY, 60.0, 5.0).answer
        assert isinstance(told, Declined)
        assert told.message == f"404 (URL: {portal.url}/v1/keys/accesstoken)"


def test_a_handshake_that_the_server_ends_is_retried(ca_file: str) -> None:
    def hello(caller: Caller) -> None:
        caller.sock.recv(65536)

    with peer(hello) as issuer:
        result = mint(issuer.url.replace("http:", "https:"), ca_file=ca_file)
    assert outcomes(result) == [UNREACHABLE] * 3
    assert f"127.0.0.1:{issuer.port}" in declined(result).message


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file or directory"), (b"no PEM", "it contains no certificates")]
)
def test_an_unusable_ca_file_is_named(content: bytes | None, why: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    result = mint("https://127.0.0.1:1", ca_file=str(path))
    assert outcomes(result) == [UNREACHABLE]
    assert declined(result).message == f"the CA file {path} cannot be used: {why}"
