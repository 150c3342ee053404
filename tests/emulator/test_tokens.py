"""The formats of tokens."""

import base64
import hashlib
import hmac
import json

from refresher.emulator.tokens import jwt_maker, opaque


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_an_opaque_token_is_no_jwt_and_unique() -> None:
    tokens = {opaque(0, 0) for _ in range(100)}
    assert len(tokens) == 100
    assert not any("." in token for token in tokens)


def test_a_jwt_has_its_times_and_a_valid_signature() -> None:
    header, claims, signature = (token := jwt_maker(b"signing key")(1000.9, 60)).split(".")
    assert json.loads(decoded(header)) == {"alg": "HS256", "typ": "JWT"}
    payload = json.loads(decoded(claims))
    assert (payload["iat"], payload["exp"]) == (1000, 1060)
    signed = token.rpartition(".")[0].encode()
    assert decoded(signature) == hmac.digest(b"signing key", signed, hashlib.sha256)


def test_a_jwt_can_expire_within_a_second() -> None:
    claims = json.loads(decoded(jwt_maker(b"signing key")(1000.0, 0.5).split(".")[1]))
    assert claims["exp"] - claims["iat"] == 0.5


def test_two_jwts_of_the_same_moment_differ() -> None:
    make = jwt_maker(b"signing key")
    assert make(1000.0, 60) != make(1000.0, 60)
