"""How the tests ask an issuer for a token."""

from refresher.clock import SystemClock
from refresher.core.model import Declined, MintResult, Outcome, SecretStr
from refresher.issuer.client import InliveIssuer

KEY = SecretStr("application-key-4f7c91d2")


def mint(url: str, budget: float = 5.0, ca_file: str | None = None) -> MintResult:
    """One attempt with an issuer of its own."""
    issuer = InliveIssuer(url, SystemClock(), ca_file)
    try:
        return issuer.mint(KEY, 3600.0, budget)
    finally:
        issuer.close()


def declined(result: MintResult) -> Declined:
    """Why there was no token; the key is never in it."""
    assert isinstance(result.answer, Declined)
    assert KEY.reveal() not in result.answer.message
    return result.answer


def outcomes(result: MintResult) -> list[Outcome]:
    return [each.outcome for each in result.tries]
