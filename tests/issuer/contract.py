"""What every kind of issuer promises, whatever the response. Subclasses provide the fixture `kind`."""

import ssl
from base64 import b64encode
from collections.abc import Callable
from email.utils import formatdate
from typing import NamedTuple

import pytest

from refresher.core.model import Declined, Granted, MintResult, Outcome, SecretStr
from refresher.ports import Issuer
from tests.issuer.peer import Script, answering, dripping, peer, resetting, silent

KEY = SecretStr("k3y+of/the:issuer%&=4f7c91d2")


class Kind(NamedTuple):
    """`make`: an issuer at a base URL. `grant`: the body of a success with the token ``T0ken``."""

    make: Callable[[str, str | None], Issuer]
    grant: bytes
    refusal: bytes  # a body that repeats KEY
    lifetime: float  # of the granted token


def declined(result: MintResult) -> Declined:
    assert isinstance(result.answer, Declined)
    assert KEY.reveal() not in repr(result)
    return result.answer


class IssuerContract:
    def mint(self, kind: Kind, script: Script, *more: Script, budget: float = 5.0) -> MintResult:
        with peer(script, *more) as server:
            return kind.make(server.url, None).mint(KEY, 3600.0, budget)

    def test_a_token_is_granted(self, kind: Kind) -> None:
        result = self.mint(kind, answering(200, kind.grant))
        assert result.answer == Granted(SecretStr("T0ken"), None, kind.lifetime)

    def test_the_key_is_not_in_the_url(self, kind: Kind) -> None:
        with peer(answering(200, kind.grant)) as server:
            kind.make(server.url, None).mint(KEY, 3600.0, 5.0)
            first = server.requests[0].split("\r\n")[0]
        assert first.startswith("POST /")
        assert "?" not in first
        assert "4f7c91d2" not in first

    @pytest.mark.parametrize("script", [silent, dripping(b"HTTP/1.1 200 OK\r\n")])
    def test_an_attempt_ends_within_its_budget(self, kind: Kind, script: Script) -> None:
        result = self.mint(kind, script, budget=0.3)
        assert declined(result).outcome is Outcome.TIMEOUT
        assert sum(tried.seconds for tried in result.tries) < 5

    def test_a_redirect_is_not_followed(self, kind: Kind) -> None:
        with peer(answering(200, kind.grant)) as elsewhere:
            result = self.mint(kind, answering(307, b"", f"Location: {elsewhere.url}"))
            assert elsewhere.connections == 0
        assert declined(result).outcome is Outcome.BAD_RESPONSE

    def test_a_refused_key_is_reported_without_the_key(self, kind: Kind) -> None:
        assert declined(self.mint(kind, answering(401, kind.refusal))).outcome is Outcome.KEY_REFUSED

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_page_of_a_proxy_does_not_refuse_the_key(self, kind: Kind, status: int) -> None:
        result = self.mint(kind, answering(status, b"<html>", "Content-Type: text/html"))
        assert declined(result).outcome is Outcome.BAD_RESPONSE

    def test_a_token_that_repeats_the_key_is_refused(self, kind: Kind) -> None:
        grant = kind.grant.replace(b"T0ken", b64encode(KEY.reveal().encode()))
        assert "contains the" in declined(self.mint(kind, answering(200, grant))).message

    @pytest.mark.parametrize("body", [b" " * (1 << 20) + b"{}", b"", b"[]", b"<html>", b"{}"])
    def test_a_success_without_a_token_is_a_bad_response(self, kind: Kind, body: bytes) -> None:
        assert declined(self.mint(kind, answering(200, body))).outcome is Outcome.BAD_RESPONSE

    def test_a_reset_connection_is_retried(self, kind: Kind) -> None:
        result = self.mint(kind, resetting, answering(200, kind.grant))
        assert isinstance(result.answer, Granted)
        assert len(result.tries) == 2

    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_is_passed_on(self, kind: Kind, status: int) -> None:
        failed = declined(self.mint(kind, answering(status, b"", "Retry-After: 7")))
        assert (failed.outcome, failed.retry_after) == (Outcome.THROTTLED, 7.0)

    def test_a_server_error_is_reported_with_its_status(self, kind: Kind) -> None:
        failed = declined(self.mint(kind, answering(500)))
        assert failed.outcome is Outcome.SERVER_ERROR
        assert "500" in failed.message

    def test_the_issuers_clock_is_compared(self, kind: Kind) -> None:
        result = self.mint(kind, answering(200, kind.grant, f"Date: {formatdate(0, usegmt=True)}"))
        assert (result.skew or 0) > 1e9

    def test_an_untrusted_certificate_sends_no_key(self, kind: Kind, tls: ssl.SSLContext) -> None:
        with peer(answering(200, kind.grant), tls=tls) as server:
            failed = declined(kind.make(server.url, None).mint(KEY, 3600.0, 5.0))
            assert server.requests == []
        assert failed.outcome is Outcome.UNREACHABLE
        assert "could not be verified" in failed.message

    def test_a_trusted_certificate_is_accepted(self, kind: Kind, tls: ssl.SSLContext, ca_file: str) -> None:
        with peer(answering(200, kind.grant), tls=tls) as server:
            assert isinstance(kind.make(server.url, ca_file).mint(KEY, 3600.0, 5.0).answer, Granted)
