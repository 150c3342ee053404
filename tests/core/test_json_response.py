"""The answers of a JSON endpoint, read by dotted paths."""

import pytest

from refresher.core.issuer_plans import JsonPlan
from refresher.core.issuer_response import classify
from refresher.core.json_response import JsonDialect
from refresher.core.model import Declined, Granted, Outcome, SecretStr
from refresher.core.rfc3339 import to_second
from tests.core.test_issuer_response import A_MINUTE_LATER, HOUR, KEY, NOW, answer

PLAN = JsonPlan("https://a.test", (), None, "data.token", "data.ttl", "data.until")
TOKEN_ONLY = JsonPlan("https://a.test", (), None, "data.token")
GRANT = {"token": "T0ken", "ttl": 600, "until": NOW + 900}


def meaning(content: object, plan: JsonPlan = PLAN, status: int = 200, **headers: str) -> Granted | Declined:
    return classify(answer(status, content, **headers), KEY, HOUR, NOW, JsonDialect(plan))


@pytest.mark.parametrize(
    ("changes", "lifetime"),
    [
        ({}, 600.0),
        ({"ttl": 7200}, 899.0),
        ({"ttl": 7200, "until": str(NOW + 900)}, 899.0),
        ({"ttl": 7200, "until": to_second(NOW + 900)}, 899.0),
        ({"ttl": 7200, "until": NOW + 10**6}, HOUR),
    ],
)
def test_the_least_of_the_stated_lifetimes_counts(changes: dict[str, object], lifetime: float) -> None:
    assert meaning({"data": GRANT | changes}) == Granted(SecretStr("T0ken"), None, lifetime)


def test_expires_at_is_compared_with_the_issuers_own_clock() -> None:
    found = meaning({"data": GRANT | {"ttl": 7200}}, date=A_MINUTE_LATER)
    assert found == Granted(SecretStr("T0ken"), None, 839.0)


def test_without_paths_the_requested_lifetime_counts() -> None:
    assert meaning({"data": {"token": "T0ken"}}, TOKEN_ONLY) == Granted(SecretStr("T0ken"), None, HOUR)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({}, "data.ttl"),
        ({"data": "text"}, "data.ttl"),
        ({"data": [GRANT]}, "data.ttl"),
        ({"data": GRANT | {"token": ""}}, "no access token (data.token)"),
        ({"data": GRANT | {"token": 7}}, "access token (data.token) is not a text"),
        ({"data": GRANT | {"token": "a\nb"}}, "access token (data.token) has invalid characters"),
        ({"data": GRANT | {"token": "t" * 70_000}}, "access token (data.token) is longer"),
        ({"data": GRANT | {"ttl": "soon"}}, "expires_in (data.ttl) is not a number"),
        ({"data": GRANT | {"ttl": 0}}, "expires_in (data.ttl) is 0"),
        ({"data": GRANT | {"until": True}}, "expires_at (data.until) is not a time"),
        ({"data": GRANT | {"until": "tomorrow"}}, "expires_at (data.until) is not a time"),
        ({"data": GRANT | {"until": "2026-11-05"}}, "expires_at (data.until) is not a time"),
        ({"data": GRANT | {"until": NOW * 1000}}, "accepted: seconds since 1970"),
        ({"data": GRANT | {"until": NOW}}, "expires_at (data.until) has passed"),
        ({"data": GRANT | {"until": None}}, "no data.until"),
        ({"data": GRANT | {"ttl": 2}}, "too short"),
    ],
)
def test_an_unusable_field_is_a_bad_response_that_names_its_path(content: object, why: str) -> None:
    found = meaning(content)
    assert isinstance(found, Declined)
    assert found.outcome is Outcome.BAD_RESPONSE
    assert why in found.message


@pytest.mark.parametrize("name", ["message", "error", "error_description"])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_in_json_is_shown(status: int, name: str) -> None:
    found = meaning({name: f"no such key: {KEY.reveal()}"}, status=status)
    assert isinstance(found, Declined)
    assert found.outcome is Outcome.KEY_REFUSED
    assert found.message.startswith(f"{status}: no such key: ")
    assert KEY.reveal() not in found.message
