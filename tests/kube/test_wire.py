"""Every request is sent once, and changed TLS files are used from the next call on."""

import ssl

import pytest
import trustme

from refresher.errors import KubeConfigError, KubeUnreachableError
from refresher.kube import wire
from refresher.kube.paths import secret_path
from tests.issuer.peer import Caller, Script, answering, resetting, sending, silent
from tests.kube.connecting import asking, in_pod, service_account

PATH = secret_path("ns", "s")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LATE = r"no complete response from .* within 0\.3 s"
OBJECT = b'{"kind": "Secret"}'


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.mark.parametrize("over_tls", [False, True])
def test_a_request_that_is_not_read_times_out(tmp_path, tls, authority, over_tls):
    more = {"tls": tls, "ca": authority.cert_pem.bytes()} if over_tls else {}
    with asking(tmp_path, silent, **more) as (api, _), pytest.raises(KubeUnreachableError, match=LATE):
        api.create(PATH, {"data": {"k": "v" * 32 * 1024 * 1024}}, timeout=0.3)


def test_a_replaced_authority_is_used_for_the_next_call(tmp_path, tls, authority):
    """Even if a connection is already open."""
    with asking(tmp_path, answering(200, OBJECT), tls=tls, ca=authority.cert_pem.bytes()) as (api, server):
        api.get(PATH)
        (tmp_path / "ca.crt").write_bytes(trustme.CA().cert_pem.bytes())
        with pytest.raises(KubeUnreachableError, match="could not be verified"):
            api.get(PATH)
        (tmp_path / "ca.crt").write_bytes(authority.cert_pem.bytes())
        api.get(PATH)
        assert server.connections == 3


@pytest.mark.parametrize("content", [b"", b"<html>", None])
def test_a_broken_ca_file_does_not_replace_a_good_one(tmp_path, tls, authority, content, caplog):
    def once(caller: Caller) -> None:
        caller.request()
        caller.answer(200, OBJECT, "Connection: close")

    with asking(tmp_path, once, tls=tls, ca=authority.cert_pem.bytes()) as (api, server):
        api.get(PATH)
        path = tmp_path / "ca.crt"
        path.unlink() if content is None else path.write_bytes(content)
        api.get(PATH)
        assert server.connections == 2
    assert f"the CA file {path} cannot be used: " in caplog.text


def test_a_ca_file_that_was_never_good_is_reported(tmp_path, tls):
    with (
        asking(tmp_path, answering(200, OBJECT), tls=tls, ca=b"<html>") as (api, _),
        pytest.raises(KubeUnreachableError, match=r"ca\.crt cannot be used: it contains no certificates"),
    ):
        api.get(PATH)


def test_a_broken_ca_file_is_reported_if_the_old_one_fails(tmp_path, tls, authority):
    with asking(tmp_path, answering(200, OBJECT), tls=tls, ca=trustme.CA().cert_pem.bytes()) as (api, _):
        with pytest.raises(KubeUnreachableError, match="could not be verified"):
            api.get(PATH)
        (tmp_path / "ca.crt").write_bytes(b"<html>")
        with pytest.raises(KubeUnreachableError, match=r"verified.* now the CA file .* cannot be used"):
            api.get(PATH)


ONCE = {
    "an unavailable server": answering(503, b"{}", "Retry-After: 0"),
    "a throttling server": answering(429, b"{}", "Retry-After: 0"),
    "a gateway": answering(502, b"<html>"),
    "a redirect": answering(307, b"", "Location: /elsewhere"),
    "a reset": resetting,
    "no answer": sending(b""),
    "half an answer": sending(HEAD + b"Content-Length: 1000\r\n\r\n{"),
    "half a head": sending(HEAD),
    "another protocol": sending(b"SSH-2.0-OpenSSH_9.2\r\n"),
}


@pytest.mark.parametrize("script", ONCE.values(), ids=ONCE.keys())
@pytest.mark.parametrize("method", ["get", "create", "replace", "apply"])
def test_no_request_is_sent_twice(tmp_path, script: Script, method):
    """urllib3 would retry, and follow redirects. Only the caller knows whether that is safe."""
    with asking(tmp_path, script) as (api, server):
        more = {"force": True} if method == "apply" else {}
        body = () if method == "get" else ({"kind": "Secret"},)
        with pytest.raises(Exception, match="secrets"):
            getattr(api, method)(PATH, *body, **more)
        assert len(server.requests) == 1


def test_a_response_has_a_limit(tmp_path):
    endless = sending(HEAD + b"Connection: close\r\n\r\n", b" " * (wire.LONGEST_RESPONSE + 1))
    with (
        asking(tmp_path, endless) as (api, _),
        pytest.raises(KubeUnreachableError, match=f"longer than {wire.LONGEST_RESPONSE} bytes"),
    ):
        api.get(PATH)


def test_a_response_delimited_by_the_close_is_complete(tmp_path):
    with asking(tmp_path, sending(HEAD + b"Connection: close\r\n\r\n", OBJECT)) as (api, _):
        assert api.get(PATH) == {"kind": "Secret"}


def test_a_call_after_a_truncated_response_succeeds(tmp_path):
    with asking(tmp_path, ONCE["half an answer"], answering(200, OBJECT)) as (api, _):
        with pytest.raises(KubeUnreachableError):
            api.get(PATH)
        assert api.get(PATH) == {"kind": "Secret"}


@pytest.mark.parametrize(
    "named", ["http://user:s3same@proxy:3128\n", "socks5://user:s3same@proxy", "http://"]
)
def test_an_unusable_proxy_is_reported_by_its_variable_without_its_value(tmp_path, monkeypatch, named):
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", named)
    with pytest.raises(KubeConfigError, match=r"^HTTPS_PROXY cannot be used: ") as raised:
        in_pod(service_account(tmp_path), 1, host="api.test")
    assert "s3same" not in str(raised.value)
    in_pod(service_account(tmp_path), 1)  # no proxy is used for it
