"""Makes tokens: opaque by default, JWTs on request. Inlive does not document which it issues."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable

TokenMaker = Callable[[float, float], str]
"""Makes a new token from its time of issue (wall seconds) and its lifetime (seconds)."""


def opaque(_issued: float, _lifetime: float) -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


def jwt_maker(signing_key: bytes) -> TokenMaker:
    """Makes JSON Web Tokens (RFC 7519) with the claims ``iat`` and ``exp``, signed with HS256."""
    header = _base64url(b'{"alg":"HS256","typ":"JWT"}')

    def make(issued: float, lifetime: float) -> str:
        issued_at = int(issued)
        expires_at = issued_at + (int(lifetime) if lifetime == int(lifetime) else lifetime)
        claims = {"iat": issued_at, "exp": expires_at, "jti": secrets.token_urlsafe(12)}
        signed = f"{header}.{_base64url(json.dumps(claims).encode())}"
        return f"{signed}.{_base64url(hmac.digest(signing_key, signed.encode(), hashlib.sha256))}"

    return make


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
