"""The expected lifetime of a token."""

import base64
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core.expiry import LONGEST_TOKEN, UselessTokenError, believed_lifetime


def jwt(payload: object) -> str:
    """An unsigned JWT with `payload`: raw bytes, or a value that becomes JSON."""
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    parts = (b'{"alg":"HS256"}', text, b"not a signature")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


NOW = 1_800_000_000.0  # by the issuer's clock
SKEWS = [0.0, -86_400.0, 86_400.0]  # errors of our clock, which does not count if there is a Date header


def believed(token: str, requested: float = 3600.0, *, date: float | None = NOW, ours: float = NOW) -> float:
    return believed_lifetime(requested, token, date, ours)


def issued(ago: float, lives: float, **more: object) -> str:
    """A JWT that was issued `ago` seconds ago."""
    return jwt({"iat": NOW - ago, "exp": NOW - ago + lives, **more})


def ends(left: float, **more: object) -> str:
    """A JWT with its expiry, but not with its issue."""
    return jwt({"exp": NOW + left, **more})


@pytest.mark.parametrize("skew", SKEWS)
@pytest.mark.parametrize(
    ("token", "lifetime"),
    [
        pytest.param("opaque", 3600.0, id="opaque: as requested"),
        pytest.param(issued(0, 1800), 1800.0, id="shorter by its claims: as claimed"),
        pytest.param(issued(0, 7200), 3600.0, id="longer by its claims: as requested"),
        pytest.param(issued(0.5, 100.25), 100.25, id="fractions"),
        pytest.param(issued(0, 40).rpartition(".")[0] + ".", 40.0, id="unsigned"),
        pytest.param(issued(50, 1800), 1800.0, id="clocks of the issuer that differ by a minute"),
        pytest.param(issued(1000, 1800), 800.0, id="issued long ago: the rest"),
        pytest.param(ends(1800), 1800.0, id="exp alone: the rest by the issuer's clock"),
        pytest.param(ends(7200), 3600.0, id="exp alone, later than requested"),
        pytest.param(issued(0, 1800, nbf=NOW - 5), 1800.0, id="valid already"),
        pytest.param(issued(0, 1800, nbf=NOW + 30), 1800.0, id="valid in a moment: clocks differ"),
    ],
)
def test_the_shorter_of_requested_and_claimed_lifetime_is_expected(
    token: str, lifetime: float, skew: float
) -> None:
    assert believed(token, ours=NOW + skew) == pytest.approx(lifetime)


@pytest.mark.parametrize("skew", SKEWS)
@pytest.mark.parametrize(
    ("token", "why"),
    [
        pytest.param(issued(0, 1), "lives 1 s by its own claims", id="a second of an hour"),
        pytest.param(issued(0, 29), "lives 29 s", id="less than half a minute of an hour"),
        pytest.param(ends(5), "lives 5 s", id="exp alone: about to end"),
        pytest.param(issued(3595, 3600), "lives 5 s", id="issued long ago: about to end"),
        pytest.param(issued(7200, 3600), "expired", id="issued long ago: it has ended"),
        pytest.param(ends(-1), "expired", id="exp alone: in the past"),
        pytest.param(jwt({"iat": NOW, "exp": NOW}), "expired", id="exp = iat"),
        pytest.param(jwt({"iat": NOW, "exp": NOW - 5}), "expired", id="exp before iat"),
        pytest.param(issued(0, 3600, nbf=NOW + 600), "not valid yet", id="valid in ten minutes"),
        pytest.param(jwt({"nbf": NOW + 600}), "not valid yet", id="nbf alone"),
    ],
)
def test_a_useless_token_is_refused(token: str, why: str, skew: float) -> None:
    with pytest.raises(UselessTokenError, match=why):
        believed(token, ours=NOW + skew)


@pytest.mark.parametrize("requested", [1.0, 2.0, 10.0, 60.0, 3600.0, 86_400.0])
@given(fraction=st.floats(0.0, 0.999), took=st.floats(0.0, 0.5))
def test_a_token_with_the_requested_lifetime_is_never_refused(
    requested: float, fraction: float, took: float
) -> None:
    """Claims and Date are whole seconds, and the Date is slightly later than the token."""
    signed, answered = NOW + fraction, NOW + fraction + took
    token = jwt({"iat": int(signed), "nbf": int(signed), "exp": int(signed) + math.ceil(requested)})
    assert believed(token, requested, date=float(int(answered))) == requested


@pytest.mark.parametrize(
    ("token", "ours", "lifetime"),
    [
        (issued(0, 1800), NOW + 86_400, None),
        (issued(0, 1800), NOW + 3000, 1800.0),
        (issued(0, 1800), NOW - 86_400, 1800.0),
        (ends(1800), NOW + 3000, 3600.0),
        (ends(1800), NOW + 86_400, None),
        (issued(0, 1800, nbf=NOW + 3000), NOW, 1800.0),
        (issued(0, 1800, nbf=NOW + 86_400), NOW, None),
    ],
)
def test_without_a_date_our_own_clock_is_used_and_may_be_an_hour_off(
    token: str, ours: float, lifetime: float | None
) -> None:
    if lifetime is not None:
        assert believed(token, date=None, ours=ours) == lifetime
        return
    with pytest.raises(UselessTokenError):
        believed(token, date=None, ours=ours)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(jwt({"sub": "studio"}), id="other claims"),
        pytest.param(jwt({"iat": "10", "exp": "20"}), id="texts"),
        pytest.param(jwt({"iat": True, "exp": "20"}), id="a boolean"),
        pytest.param(jwt({"iat": None, "exp": None}), id="null"),
        pytest.param(jwt(b'{"exp": NaN}'), id="NaN"),
        pytest.param(jwt(b'{"exp": Infinity}'), id="infinity"),
        pytest.param(jwt(b'{"exp": 1e999}'), id="a number beyond a float"),
        pytest.param(jwt({"exp": 10**400}), id="an integer beyond a float"),
        pytest.param(jwt(b'{"iat": 10, "exp": ' + b"9" * 5000 + b"}"), id="an integer of 5,000 digits"),
        pytest.param(jwt([10, 20]), id="claims that are no object"),
        pytest.param(jwt(b"[" * 20_000), id="deep nesting"),
        pytest.param(jwt(b"\xff\xfe"), id="not UTF-8"),
        pytest.param("a.b.c", id="not base64url"),
        pytest.param("a." + jwt({"iat": 10, "exp": 20}), id="four parts"),
        pytest.param(jwt({"iat": 10, "exp": 20}) + "A" * LONGEST_TOKEN, id="too long to be decoded"),
    ],
)
def test_a_token_without_a_usable_time_is_opaque(token: str) -> None:
    assert believed(token) == 3600.0


_TIMES = st.dictionaries(
    st.sampled_from(["iat", "exp", "nbf"]), st.floats() | st.floats(NOW - 1e5, NOW + 1e5) | st.integers()
)


@given(st.text() | st.binary().map(jwt) | _TIMES.map(jwt), st.none() | st.floats(0, 1e11))
def test_no_text_raises_anything_else_or_lengthens_a_lifetime(token: str, date: float | None) -> None:
    try:
        lifetime = believed(token, 60.0, date=date)
    except UselessTokenError:
        return
    assert 6.0 <= lifetime <= 60.0
