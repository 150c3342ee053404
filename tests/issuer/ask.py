"""Mints a token from an issuer of the tests."""

import re

from refresher.clock import SystemClock
from refresher.core.model import Declined, MintResult, Outcome, SecretStr
from refresher.issuer.client import InliveIssuer

KEY = SecretStr("application-key-4f7c91d2")


def mint(url: str, budget: float = 5.0, ca_file: str | None = None) -> MintResult:
    """One attempt with a new client."""
    return InliveIssuer(url, SystemClock(), ca_file).mint(KEY, 3600.0, budget)


_ASKED = re.compile(r" \(URL: [a-z]+://[^@? ]*/v1/keys/accesstoken\)")


def declined(result: MintResult) -> Declined:
    """Why there was no token, without the URL at its end. Checks that it has the URL and not the key."""
    assert isinstance(result.answer, Declined)
    message = result.answer.message
    assert KEY.reveal() not in message
    asked = _ASKED.search(message)
    assert asked
    assert asked.end() == len(message)
    return result.answer._replace(message=message[: asked.start()])


def outcomes(result: MintResult) -> list[Outcome]:
    return [each.outcome for each in result.tries]
