"""The CA file is replaced while the client is in use."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from refresher.clock import SystemClock
from refresher.core.model import Declined, Granted, SecretStr, Verdict
from refresher.issuer.client import InliveIssuer, UrlVerifier
from tests.commands.daemon import eventually
from tests.issuer.ask import KEY
from tests.issuer.peer import GRANT, Caller, Peer, answering, granting, peer


@pytest.fixture
def bundle(ca_file: str, tmp_path: Path) -> Path:
    """The server's authority in a file of this test."""
    path = tmp_path / "ca.pem"
    path.write_bytes(Path(ca_file).read_bytes())
    return path


@pytest.fixture
def server(tls: ssl.SSLContext) -> Iterator[Peer]:
    with peer(granting, tls=tls) as serving:
        yield serving


@pytest.fixture
def issuer(server: Peer, bundle: Path) -> InliveIssuer:
    return InliveIssuer(server.url, SystemClock(), str(bundle))


def mint(issuer: InliveIssuer) -> Granted | Declined:
    return issuer.mint(KEY, 60.0, 5.0).answer


def test_an_added_authority_is_trusted_at_the_next_mint(
    issuer: InliveIssuer, bundle: Path, authority: trustme.CA
) -> None:
    bundle.write_bytes(trustme.CA().cert_pem.bytes())
    answer = mint(issuer)
    assert isinstance(answer, Declined)
    assert f"no authority in {bundle} has signed it" in answer.message
    bundle.write_bytes(authority.cert_pem.bytes())
    assert isinstance(mint(issuer), Granted)


def test_connections_are_not_used_after_their_authority_is_removed(
    issuer: InliveIssuer, bundle: Path, server: Peer
) -> None:
    assert isinstance(mint(issuer), Granted)
    assert isinstance(mint(issuer), Granted)
    assert server.connections == 1
    bundle.write_bytes(trustme.CA().cert_pem.bytes())
    answer = mint(issuer)
    assert isinstance(answer, Declined)
    assert "could not be verified" in answer.message


def test_unused_connections_are_closed(tls: ssl.SSLContext, bundle: Path, authority: trustme.CA) -> None:
    gone: list[bool] = []

    def until_gone(caller: Caller) -> None:
        caller.request()
        caller.answer(200, GRANT)
        gone.append(not caller.request())

    with peer(until_gone, granting, tls=tls) as server:
        issuer = InliveIssuer(server.url, SystemClock(), str(bundle))
        mint(issuer)
        bundle.write_bytes(authority.cert_pem.bytes() + trustme.CA().cert_pem.bytes())
        mint(issuer)
        assert eventually(lambda: gone, "the first connection ends") == [True]


def test_a_broken_ca_file_is_reported_only_if_verification_fails(
    issuer: InliveIssuer, bundle: Path, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(mint(issuer), Granted)
    bundle.write_bytes(b"half a certif")
    assert isinstance(mint(issuer), Granted)
    assert caplog.text.count(f"the CA file {bundle} cannot be used: it contains no certificates") == 1

    bundle.write_bytes(trustme.CA().cert_pem.bytes())
    mint(issuer)
    bundle.write_bytes(b"half a certif")
    answer = mint(issuer)
    assert isinstance(answer, Declined)
    assert f"now the CA file {bundle} cannot be used: it contains no certificates" in answer.message


def test_the_verifier_reads_the_same_file_again(
    tls: ssl.SSLContext, bundle: Path, authority: trustme.CA
) -> None:
    bundle.write_bytes(trustme.CA().cert_pem.bytes())
    with peer(answering(200), tls=tls) as product:
        verifier = UrlVerifier(product.url, str(bundle))
        assert verifier.verify(SecretStr("t0ken"), 5.0).verdict is Verdict.INCONCLUSIVE
        bundle.write_bytes(authority.cert_pem.bytes())
        assert verifier.verify(SecretStr("t0ken"), 5.0).verdict is Verdict.GOOD


def test_without_a_ca_file_the_systems_store_is_trusted(
    server: Peer, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    issuer = InliveIssuer(server.url, SystemClock())
    assert isinstance(mint(issuer), Granted)
