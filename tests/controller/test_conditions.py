import pytest

from refresher.controller.conditions import LONGEST_MESSAGE, object_status
from refresher.core.problems import Problem
from refresher.core.status import TokenStatus

NOW = 1_793_872_800.25  # 2026-11-05T10:00:00.25Z
THEN = "2026-11-01T00:00:00Z"
AT = "2026-11-05T10:00:00Z"

REFUSED = Problem("key_refused", "the issuer refused it (key 0123)", NOW, 3, "replace the key")
UNREADABLE = Problem("key_unreadable", "the Secret does not exist", NOW, 1, "create it")
NO = {"key_accepted": False}
UNREACHABLE = Problem("unreachable", "no route", NOW, 1, "")


def token(**fields):
    found = {
        "name": "studio/studio", "valid": True, "issued": NOW, "expires": NOW + 3600, "lifetime": 3600.0,
        "shortfall": 0.0, "headroom": 900.0, "next_refresh": NOW + 2400, "next_reason": "scheduled",
        "key_fingerprint": "k" * 16, "key_accepted": True, "token_fingerprint": "f" * 16, "problems": (),
        "outputs": (), "refresh_due": None,
    }  # fmt: skip
    return TokenStatus(**found | fields)


def nothing(**fields):
    empty = dict.fromkeys(("issued", "expires", "shortfall", "key_accepted", "token_fingerprint"))
    return token(valid=False, **empty | fields)


def document(*conditions, generation=3):
    return {"metadata": {"generation": generation}, "status": {"conditions": list(conditions)}}


def status(of, mistakes=(), stored=None):
    return object_status(stored or document(), of, mistakes, NOW)


def shown(found):
    return {each["type"]: (each["status"], each["reason"]) for each in found["conditions"]}


@pytest.mark.parametrize(
    ("of", "mistakes", "ready", "accepted"),
    [
        (token(), (), ("True", "valid"), ("True", "accepted")),
        (nothing(), (), ("False", "not_started"), ("Unknown", "not_tried")),
        (None, (), ("False", "not_started"), ("Unknown", "not_tried")),
        (None, ("spec.lifetime: bad",), ("False", "invalid"), ("Unknown", "not_tried")),
        (token(), ("spec.lifetime: bad",), ("True", "invalid"), ("True", "accepted")),
        (nothing(problems=(REFUSED,), **NO), (), ("False", "key_refused"), ("False", "key_refused")),
        (token(problems=(REFUSED,), **NO), (), ("True", "key_refused"), ("False", "key_refused")),
        (token(problems=(UNREACHABLE,), **NO), (), ("True", "unreachable"), ("False", "key_refused")),
        (nothing(problems=(UNREADABLE,)), (), ("False", "key_unreadable"), ("Unknown", "key_unreadable")),
        (token(problems=(UNREACHABLE,)), (), ("True", "unreachable"), ("True", "accepted")),
        (
            nothing(problems=(UNREACHABLE, REFUSED), **NO), (),
            ("False", "unreachable"), ("False", "key_refused"),
        ),
    ],
)  # fmt: skip
def test_conditions_follow_the_token_and_the_mistakes(of, mistakes, ready, accepted):
    assert shown(status(of, mistakes)) == {"Ready": ready, "KeyAccepted": accepted}


def test_a_message_says_what_is_wrong_and_what_to_do():
    [ready, key] = status(token(problems=(REFUSED,)))["conditions"]
    assert (
        ready["message"]
        == key["message"]
        == "the issuer refused it (key 0123); put a valid key into the key Secret"
    )
    [ready, _] = status(None, ("spec.lifetime: a", "spec.refreshAt: b"))["conditions"]
    assert ready["message"] == "spec.lifetime: a; spec.refreshAt: b"
    [ready, _] = status(None, ("x" * 100_000,))["conditions"]
    assert len(ready["message"]) == LONGEST_MESSAGE


def test_times_and_fingerprint_are_those_of_the_token():
    found = status(token(refresh_due=NOW + 2400))
    assert (found["expiresAt"], found["refreshDue"]) == ("2026-11-05T11:00:00Z", "2026-11-05T10:40:00Z")
    assert found["tokenFingerprint"] == "f" * 16
    assert status(nothing()).keys() == {"observedGeneration", "conditions"}


def test_status_and_conditions_name_the_generation_they_are_about():
    found = status(token(), stored=document(generation=7))
    assert {found["observedGeneration"], *(each["observedGeneration"] for each in found["conditions"])} == {7}


@pytest.mark.parametrize(("before", "since"), [("True", THEN), ("False", AT), ("Unknown", AT)])
def test_a_condition_keeps_the_time_of_its_last_transition(before, since):
    stored = {"type": "Ready", "status": before, "lastTransitionTime": THEN, "reason": "other"}
    [ready, key] = status(token(), stored=document(stored))["conditions"]
    assert (ready["lastTransitionTime"], key["lastTransitionTime"]) == (since, AT)


def test_an_unchanged_object_gets_the_same_status_later():
    first = status(token())
    stored = {"metadata": {"generation": 3}, "status": first}
    assert object_status(stored, token(), (), NOW + 1000) == first


@pytest.mark.parametrize(
    "stored", [None, [], "x", {"conditions": None}, {"conditions": [1, {"type": "Ready"}]}]
)
def test_a_stored_status_of_any_shape_is_replaced(stored):
    found = object_status({"metadata": {}, "status": stored}, token(), (), NOW)
    assert [each["lastTransitionTime"] for each in found["conditions"]] == [AT, AT]
