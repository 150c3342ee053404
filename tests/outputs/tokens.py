"""Tokens for the tests of outputs, in a module that starts quickly."""

from refresher.core.instant import Instant
from refresher.core.model import SecretStr, Token, TokenFacts
from refresher.core.seal import Sealer

NOW = Instant(wall=1_793_872_800.25, boot=5_000.0)  # 2026-11-05T10:00:00.25Z
LIFETIME = 3600.0
ISSUER_URL = "https://api.inlive.app"
KEY = SecretStr("k3y")  # the key that minted them
SEALER = Sealer(KEY)


def a_token(number: int = 1, *, issued: Instant = NOW, lifetime: float = LIFETIME, size: int = 0) -> Token:
    """A token that is unique for its number. Its access token has at least `size` characters."""
    access = SecretStr(f"acc3ss-{number}-".ljust(size, "x"))
    key = KEY.fingerprint
    facts = TokenFacts(
        issued, lifetime, LIFETIME, key, access.fingerprint, has_refresh_token=True, issuer=ISSUER_URL
    )
    return Token(facts, access, SecretStr(f"r3fresh-{number}-"))
