"""What is told when no answer came: whom was asked, what was in the way, and nothing that is secret."""

import socket
import ssl
import traceback

import pytest
import trustme

from refresher.errors import KubeUnreachableError
from refresher.kube.paths import secret_path
from tests.issuer.peer import answering, sending
from tests.kube.connecting import TOKEN, asking, by_kubeconfig, kubeconfig
from tests.kube.test_wire import HEAD, resetting

PATH = secret_path("ns", "s")
VALUE = "b3Blbi1zZXNhbWU="
BODY = {"data": {"k": VALUE}}


def told(api) -> str:
    with pytest.raises(KubeUnreachableError) as raised:
        api.apply(PATH, BODY, force=True, timeout=5)
    everything = "".join(traceback.format_exception(raised.value))
    assert TOKEN not in everything
    assert VALUE not in everything
    return str(raised.value)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (resetting, "Connection reset by peer"),
        (sending(b""), "closed the connection without an answer"),
        (sending(HEAD + b"Content-Length: 1000\r\n\r\n{"), "was cut off"),
        (sending(HEAD), "was cut off"),
        (sending(b"SSH-2.0-OpenSSH_9.2\r\n"), "does not speak HTTP"),
    ],
)
def test_what_the_server_did(tmp_path, script, expected):
    with asking(tmp_path, script) as (api, server):
        text = told(api)
    assert text.startswith("patch secrets/s in namespace ns: ")
    assert f"the API server 127.0.0.1:{server.port}" in text
    assert expected in text


def test_that_nobody_listens(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert "Connection refused" in told(
        by_kubeconfig(kubeconfig(tmp_path, f"http://127.0.0.1:{port}", token=TOKEN))
    )


def test_that_there_is_no_such_name(tmp_path):
    assert "cannot be resolved" in told(
        by_kubeconfig(kubeconfig(tmp_path, "http://api.invalid", token=TOKEN))
    )


def test_that_somebody_else_has_signed_the_certificate(tmp_path):
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(theirs)
    with asking(tmp_path, answering(200, b"{}"), tls=theirs, ca=trustme.CA().cert_pem.bytes()) as (
        api,
        server,
    ):
        assert "could not be verified" in told(api)
        assert server.requests == []


def test_that_the_certificate_is_for_another_host(tmp_path):
    authority, theirs = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.test").configure_cert(theirs)
    with asking(tmp_path, answering(200, b"{}"), tls=theirs, ca=authority.cert_pem.bytes()) as (api, server):
        assert "could not be verified" in told(api)
        assert server.requests == []


def test_that_the_server_speaks_no_tls(tmp_path):
    ca = trustme.CA().cert_pem.bytes()
    with asking(tmp_path, lambda caller: caller.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ca=ca) as (api, _):
        assert "TLS with" in told(api)


def test_a_password_in_the_address_is_not_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    api = by_kubeconfig(kubeconfig(tmp_path, f"http://me:open-sesame@127.0.0.1:{port}", token=TOKEN))
    assert "open-sesame" not in told(api)
