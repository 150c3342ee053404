"""Proxies in the environment: which requests use them, and what a proxy can read."""

import ssl

import pytest

from refresher.core.model import Granted, Outcome
from tests.issuer.ask import KEY, declined, mint, outcomes
from tests.issuer.peer import Peer, granting, peer, tunnelling

ISSUER = "https://issuer.test"  # reachable only through a proxy (RFC 6761, section 6.2)


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_opens_a_tunnel_and_does_not_see_the_key(
    variable: str, tls: ssl.SSLContext, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with peer(granting, tls=tls) as issuer, peer(tunnelling(lambda: issuer.port)) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        assert isinstance(mint(ISSUER, ca_file=ca_file).answer, Granted)
        assert f"Authorization: Bearer {KEY.reveal()}" in issuer.requests[0]
        assert proxy.requests[0].startswith("CONNECT issuer.test:443 HTTP/1.")
        assert KEY.reveal() not in proxy.requests[0]


def test_only_the_proxy_gets_its_password(
    tls: ssl.SSLContext, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with peer(granting, tls=tls) as issuer, peer(tunnelling(lambda: issuer.port)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//user:s3same@"))
        assert isinstance(mint(ISSUER, ca_file=ca_file).answer, Granted)
        assert "Proxy-Authorization: Basic dXNlcjpzM3NhbWU=" in proxy.requests[0]
        assert "dXNlcjpzM3NhbWU=" not in issuer.requests[0]


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("http://user:s3same@[::1", "it is not a URL"),
        ("http://user:s3same@a\u2100b:1", "it contains a character that is not allowed in a URL"),
        ("http://user:s3same@proxy:3128\n", "it contains a line break"),
        ("http://user:s3\rsame@proxy:3128", "it contains a line break"),
        (" http://user:s3same@proxy:3128", "it contains a character that is not allowed in a URL"),
        ("http://user:12/s3same@proxy:3128", "the characters / ? # in a password must be percent-encoded"),
        ("http://user:s3same@proxy:port", "it is not a URL"),
        ("http://user:s3same@proxy:99999", "it is not a URL"),
        ("[::1", "it is not a URL"),
        ("http://", "it is not the URL of a proxy"),
        ("ftp://user:s3same@proxy", "it is not the URL of a proxy"),
        ("socks5://user:s3same@127.0.0.1:1", "SOCKS proxies are not supported"),
    ],
)
def test_an_unusable_proxy_is_reported_by_its_variable_without_its_value(
    variable: str, named: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, named)
    failed = declined(mint(ISSUER))
    assert failed.outcome is Outcome.UNREACHABLE
    accepted = "accepted: http://[USER:PASSWORD@]HOST[:PORT]"
    assert failed.message == f"{variable} cannot be used: {why}; {accepted}"


@pytest.mark.parametrize("excepted", ["issuer.test", ".test", "*"])
def test_no_proxy_excludes_the_issuer(excepted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with peer(granting) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", excepted)
        assert declined(mint(ISSUER)).message.startswith("the name of issuer.test cannot be resolved")
        assert proxy.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_key_for_an_issuer_on_this_machine_does_not_leave_it(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with peer(granting) as issuer, peer(granting) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("all_proxy", proxy.url)
        assert isinstance(mint(f"http://{host}:{issuer.port}").answer, Granted)
        assert proxy.connections == 0


def test_a_certificate_is_verified_through_a_proxy_too(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with peer(granting, tls=tls) as issuer, peer(tunnelling(lambda: issuer.port)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        assert "certificate of issuer.test could not be verified" in declined(mint(ISSUER)).message
        assert issuer.requests == []


def outcome_and_message(
    proxy: Peer, budget: float, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Outcome], str]:
    """The outcomes and the message of a mint through this proxy, which has a password."""
    monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//user:s3same@"))
    result = mint(ISSUER, budget)
    message = declined(result).message
    assert "s3same" not in message
    return outcomes(result), message.replace(f"127.0.0.1:{proxy.port}", "PROXY")


def test_a_proxy_that_opens_no_tunnel_is_reported_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = b"HTTP/1.1 407 S3cret\r\n\r\n"
    with peer(tunnelling(lambda: other.port, refusal)) as proxy, peer(granting) as other:
        outcome, message = outcome_and_message(proxy, 5.0, monkeypatch)
    assert (outcome, message) == ([Outcome.UNREACHABLE], "the proxy PROXY: opens no tunnel, status 407")
