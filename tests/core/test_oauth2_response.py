"""The answers of an OAuth2 token endpoint, row by row."""

import math

import pytest

from refresher.core.issuer_response import classify
from refresher.core.model import Declined, Granted, Outcome, SecretStr
from refresher.core.oauth2_response import OAuth2Dialect
from tests.core.test_expiry import jwt
from tests.core.test_issuer_response import HOUR, KEY, NOW, answer

BAD, REFUSED = Outcome.BAD_RESPONSE, Outcome.KEY_REFUSED
MISSING = object()


def meaning(status: int, content: object, **headers: str) -> Granted | Declined:
    return classify(answer(status, content, **headers), KEY, HOUR, NOW, OAuth2Dialect())


def granting(**fields: object) -> dict[str, object]:
    whole = {"access_token": "T0ken", "token_type": "Bearer", **fields}
    return {name: value for name, value in whole.items() if value is not MISSING}


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        (600, 600.0),
        (599.5, 599.5),
        ("600", 600.0),
        ("600.5", 600.5),
        (MISSING, HOUR),
        (None, HOUR),
        (86400, HOUR),
        (10**400, HOUR),
        ("9" * 20, HOUR),
        (1e308 * 10, "it is not JSON"),  # Infinity
        (math.nan, "it is not JSON"),
        (0, "expires_in is 0: the token has expired"),
        (-1, "expires_in is -1: the token"),
        ("0", "expired already"),
        (-(10**400), "expired already"),
        (1, "too short"),
        (True, "not a number"),
        ("", "not a number"),
        ("1h", "not a number"),
        ("1e3", "not a number"),
        ([600], "not a number"),
    ],
)
def test_expires_in_limits_the_lifetime(expires_in: object, lifetime: float | str) -> None:
    found = meaning(200, granting(expires_in=expires_in))
    if isinstance(lifetime, float):
        assert found == Granted(SecretStr("T0ken"), None, lifetime)
    else:
        assert isinstance(found, Declined)
        assert found.outcome is BAD
        assert lifetime in found.message


def test_the_least_lifetime_counts() -> None:
    token = jwt({"iat": NOW, "exp": NOW + 300})
    assert meaning(200, granting(access_token=token, expires_in=600)) == Granted(
        SecretStr(token), None, 300.0
    )


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER", MISSING])
def test_a_bearer_token_is_granted(token_type: object) -> None:
    assert isinstance(meaning(200, granting(token_type=token_type)), Granted)


@pytest.mark.parametrize("token_type", ["mac", "DPoP", "", None, 7])
def test_another_type_of_token_is_a_bad_response(token_type: object) -> None:
    found = meaning(200, granting(token_type=token_type))
    assert isinstance(found, Declined)
    assert found.outcome is BAD
    assert "token_type" in found.message


@pytest.mark.parametrize(
    ("status", "error", "outcome", "advice"),
    [
        (400, "invalid_client", REFUSED, ""),
        (401, "invalid_client", REFUSED, ""),
        (200, "invalid_client", REFUSED, ""),
        (400, "unauthorized_client", REFUSED, ""),
        (400, "invalid_grant", REFUSED, ""),
        (400, "invalid_request", BAD, "endpoint_params"),
        (401, "invalid_request", BAD, "endpoint_params"),
        (400, "invalid_scope", BAD, "scopes"),
        (400, "unsupported_grant_type", BAD, "grant_type"),
        (400, "something_else", BAD, ""),
        (401, "something_else", REFUSED, ""),
        (403, "access_denied", REFUSED, ""),
        (400, "temporarily_unavailable", Outcome.THROTTLED, ""),
        (503, "temporarily_unavailable", Outcome.THROTTLED, ""),
        (400, "server_error", Outcome.SERVER_ERROR, ""),
        (500, "invalid_client", Outcome.SERVER_ERROR, ""),
        (429, "invalid_client", Outcome.THROTTLED, ""),
    ],
)
def test_an_error_code_has_its_outcome(status: int, error: str, outcome: Outcome, advice: str) -> None:
    found = meaning(status, {"error": error, "error_description": "Because."})
    assert isinstance(found, Declined)
    assert found.outcome is outcome
    assert found.message.startswith(f"{status}: {error}: Because")
    assert advice in found.message


@pytest.mark.parametrize("status", [429, 503])
def test_a_throttled_request_waits(status: int) -> None:
    found = meaning(status, {"error": "temporarily_unavailable"}, retry_after="60")
    assert isinstance(found, Declined)
    assert (found.outcome, found.retry_after) == (Outcome.THROTTLED, 60.0)


def test_a_long_description_does_not_hide_the_code() -> None:
    found = meaning(400, {"error": "invalid_client", "error_description": "x" * 500})
    assert isinstance(found, Declined)
    assert found.message == "400: invalid_client: check client_id and auth_method too"


def test_a_message_does_not_repeat_the_secret() -> None:
    found = meaning(401, {"error": "invalid_client", "error_description": f"not {KEY.reveal()}"})
    assert isinstance(found, Declined)
    assert KEY.reveal() not in found.message
