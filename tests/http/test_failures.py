"""Messages of failed requests: the failure, the peer and advice, but no secret.

Both clients have the same messages.
"""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from tests.http.clients import BOTH
from tests.issuer.conftest import tls_for
from tests.issuer.peer import GRANT, Caller, Script, answering, granting, peer, resetting, sending, tunnelling

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CUT = "the response of SERVER was cut off"
NO_HTTP = "SERVER does not speak HTTP"
ALERT = b"\x15\x03\x01\x00\x02\x02\x46"  # OpenSSL's response to a request in plain text
BEHIND_A_PROXY = "https://issuer.test"


def in_the_clear(caller: Caller) -> None:
    caller.sock.recv(65536)
    caller.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@BOTH
@pytest.mark.parametrize(
    ("script", "message"),
    [
        pytest.param(resetting, "SERVER: Connection reset by peer", id="a reset"),
        pytest.param(sending(), "SERVER: closed the connection without a response", id="no answer"),
        pytest.param(sending(HEAD + b"Content-Length: 9\r\n\r\n{"), CUT, id="half a body"),
        pytest.param(sending(HEAD), CUT, id="half a head"),
        pytest.param(sending(HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{"), CUT, id="half a chunk"),
        pytest.param(sending(b"SSH-2.0-OpenSSH_9.2 S3cret\r\n"), NO_HTTP, id="another protocol"),
        pytest.param(sending(b"HTTP/1.1 OK S3cret\r\n\r\n"), NO_HTTP, id="no status"),
        pytest.param(
            sending(b"HTTP/1.1 200 OK\r\n" + b"S3cret: 1\r\n" * 200 + b"\r\n"), NO_HTTP, id="200 headers"
        ),
        pytest.param(
            sending(b"HTTP/1.1 200 OK\r\nS3cret: " + b"x" * 70_000 + b"\r\n\r\n"), NO_HTTP, id="a long header"
        ),
        pytest.param(
            sending(ALERT), "SERVER speaks TLS: should the URL begin with https://?", id="TLS for plain text"
        ),
    ],
)
def test_a_failure_of_the_server_is_described(client, script: Script, message: str, tmp_path: Path) -> None:
    with peer(script) as server:
        told = client(tmp_path, server.url)(2.0)
    assert told.replace(f"127.0.0.1:{server.port}", "SERVER") == message


@BOTH
def test_a_refused_connection_is_described(client, tmp_path: Path) -> None:
    with peer(granting) as gone:
        pass
    assert client(tmp_path, gone.url)(2.0) == f"127.0.0.1:{gone.port}: Connection refused"


@BOTH
def test_an_unknown_host_name_is_described(client, tmp_path: Path) -> None:
    told = client(tmp_path, "http://server.invalid")(2.0)  # RFC 6761, section 6.4
    assert told.startswith("the name of server.invalid cannot be resolved: ")


@BOTH
def test_a_password_in_the_url_is_not_shown(client, tmp_path: Path) -> None:
    with peer(granting) as gone:
        pass
    assert "s3same" not in client(tmp_path, gone.url.replace("//", "//me:s3same@"))(2.0)


# --- TLS


@BOTH
def test_a_server_of_a_trusted_authority_is_accepted(client, tls, ca_file: str, tmp_path: Path) -> None:
    with peer(granting, tls=tls) as server:
        assert client(tmp_path, server.url, ca_file)(5.0) == ""


@BOTH
def test_the_file_of_the_trusted_authorities_is_named(client, tls: ssl.SSLContext, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with peer(granting, tls=tls) as server:
        told = client(tmp_path, server.url, str(other))(5.0)
        assert server.requests == []
    file = other if "other.pem" in told else tmp_path / "ca.crt"  # a Pod has it elsewhere
    assert told.startswith(f"the TLS certificate of 127.0.0.1:{server.port} could not be verified: ")
    assert f"; no authority in {file} has signed it" in told


@BOTH
def test_a_certificate_for_another_name_is_refused(client, authority, ca_file: str, tmp_path: Path) -> None:
    with peer(granting, tls=tls_for(authority, "other.test")) as server:
        told = client(tmp_path, server.url, ca_file)(5.0)
        assert server.requests == []
    assert "could not be verified: IP address mismatch" in told
    assert "authority" not in told


@BOTH
def test_an_expired_certificate_is_refused(client, authority, ca_file: str, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC)).configure_cert(context)
    with peer(granting, tls=context) as server:
        told = client(tmp_path, server.url, ca_file)(5.0)
        assert server.requests == []
    assert told.endswith("could not be verified: certificate has expired")


@BOTH
def test_a_server_without_tls_is_described(client, ca_file: str, tmp_path: Path) -> None:
    with peer(in_the_clear) as server:
        told = client(tmp_path, server.url.replace("http:", "https:"), ca_file)(5.0)
    failed = f"TLS with 127.0.0.1:{server.port} failed: wrong version number"
    assert told == f"{failed}; does this port speak HTTPS?"


@BOTH
def test_a_broken_ca_file_is_named_if_the_old_one_does_not_verify_the_server(
    client, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    other = tmp_path / "ca.crt"  # a Pod has it there too
    trustme.CA().cert_pem.write_to_path(str(other))
    with peer(granting, tls=tls) as server:
        ask = client(tmp_path, server.url, str(other))
        assert "could not be verified" in ask(5.0)
        other.write_bytes(b"<html>")
        told = ask(5.0)
    assert "could not be verified" in told
    broken = f"the CA file {other} cannot be used: it contains no certificates"
    assert told.endswith(f"; older certificates are in use, because now {broken}")


# --- Proxies


@BOTH
def test_a_proxy_that_opens_no_tunnel_is_named_with_its_status(
    client, ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with peer(sending(b"HTTP/1.1 407 S3cret\r\n\r\n")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//user:s3same@"))
        told = client(tmp_path, BEHIND_A_PROXY, ca_file)(5.0)
    assert told == f"the proxy 127.0.0.1:{proxy.port}: opens no tunnel, status 407"


@BOTH
def test_a_proxy_that_refuses_the_connection_is_named(
    client, ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with peer(granting) as proxy:
        pass
    monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//user:s3same@"))
    told = client(tmp_path, BEHIND_A_PROXY, ca_file)(2.0)
    assert told == f"the proxy 127.0.0.1:{proxy.port}: Connection refused"


@BOTH
def test_a_certificate_is_verified_through_a_proxy(
    client, tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with peer(answering(200, GRANT), tls=tls) as server, peer(tunnelling(lambda: server.port)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        told = client(tmp_path, BEHIND_A_PROXY, str(other))(5.0)
        assert server.requests == []
    assert told.startswith("the TLS certificate of issuer.test")
    assert "could not be verified" in told
