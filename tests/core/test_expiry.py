"""How long a token is believed to live."""

import base64
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core.expiry import LONGEST_TOKEN, believed_lifetime, stated_lifetime


def jwt(payload: object) -> str:
    """An unsigned JWT around `payload`: raw bytes, or what becomes JSON."""
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    parts = (b'{"alg":"HS256"}', text, b"not a signature")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize(
    ("token", "believed"),
    [
        pytest.param("opaque", 3600.0, id="opaque: what was asked for"),
        pytest.param(jwt({"iat": 1000, "exp": 2800}), 1800.0, id="says less: what it says"),
        pytest.param(jwt({"iat": 1000, "exp": 8200}), 3600.0, id="says more: what was asked for"),
        pytest.param(jwt({"iat": 1000.5, "exp": 1100.75}), 100.25, id="fractions"),
        pytest.param(jwt({"iat": 10, "exp": 20}).rpartition(".")[0] + ".", 10.0, id="unsigned"),
        pytest.param(
            jwt({"iat": 2000, "exp": 1000}), -1000.0, id="expires before it was issued: not positive"
        ),
    ],
)
def test_the_lesser_of_what_was_asked_for_and_what_the_token_says_is_believed(
    token: str, believed: float
) -> None:
    assert believed_lifetime(3600.0, token) == believed


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(jwt({"exp": 20}), id="no iat"),
        pytest.param(jwt({"iat": 20}), id="no exp"),
        pytest.param(jwt({"iat": "10", "exp": "20"}), id="texts"),
        pytest.param(jwt({"iat": True, "exp": 20}), id="a boolean"),
        pytest.param(jwt({"iat": None, "exp": 20}), id="null"),
        pytest.param(jwt(b'{"iat": NaN, "exp": 20}'), id="NaN"),
        pytest.param(jwt(b'{"iat": 10, "exp": Infinity}'), id="infinity"),
        pytest.param(jwt(b'{"iat": 10, "exp": 1e999}'), id="a number beyond a float"),
        pytest.param(jwt({"iat": 10, "exp": 10**400}), id="an integer beyond a float"),
        pytest.param(jwt(b'{"iat": 10, "exp": ' + b"9" * 5000 + b"}"), id="an integer of 5,000 digits"),
        pytest.param(jwt([10, 20]), id="claims that are no object"),
        pytest.param(jwt(b"[" * 20_000), id="deep nesting"),
        pytest.param(jwt(b"\xff\xfe"), id="not UTF-8"),
        pytest.param("a.b.c", id="not base64url"),
        pytest.param("a." + jwt({"iat": 10, "exp": 20}), id="four parts"),
        pytest.param(jwt({"iat": 10, "exp": 20}) + "A" * LONGEST_TOKEN, id="longer than is looked at"),
    ],
)
def test_a_token_without_two_usable_times_is_opaque(token: str) -> None:
    assert stated_lifetime(token) is None


@given(
    st.text() | st.binary().map(jwt) | st.dictionaries(st.sampled_from(["iat", "exp"]), st.floats()).map(jwt)
)
def test_no_text_makes_it_raise_or_lengthens_a_lifetime(token: str) -> None:
    believed = believed_lifetime(60.0, token)
    assert believed <= 60.0
    assert not math.isnan(believed)
