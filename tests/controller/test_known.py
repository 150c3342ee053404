"""What is kept of objects and of Secrets with keys."""

import base64
from typing import Any

import pytest

from refresher.controller.known import REFRESH, Known, Stored, keys_in, status_text, stored
from refresher.core.model import SecretStr
from tests.controller.objects import Spec, accesstoken, spec

DAY = 24 * 3600.0


def document(wanted: Spec | None = None, **metadata: Any) -> dict[str, Any]:
    document = accesstoken(wanted or spec())
    document["metadata"] |= {"uid": "u", "generation": 1, "resourceVersion": "7"} | metadata
    return document


def first(document: dict[str, Any], before: Known | None = None) -> Known:
    found = stored(document, None if before is None else Stored(before, 0, "{}"), DAY)
    assert found is not None
    return found.known


def test_an_object_is_known_with_its_demand():
    found = first(document(creationTimestamp="2026-11-05T10:00:00Z"))
    assert (found.token, found.uid, found.created) == ("studio/studio", "u", "2026-11-05T10:00:00Z")
    assert found.demand is not None
    assert (found.mistakes, found.refresh) == ((), None)


def test_an_object_that_is_being_deleted_is_not_known():
    before = first(document())
    assert stored(document(deletionTimestamp="2026-11-05T10:00:00Z"), Stored(before, 0, "{}"), DAY) is None


def test_a_new_status_leaves_the_known_object_as_it_is():
    before = stored(document(), None, DAY)
    assert before is not None
    after = stored(document(resourceVersion="8") | {"status": {"expiresAt": "x"}}, before, DAY)
    assert after == Stored(before.known, 8, '{"expiresAt":"x"}')
    assert after.known is before.known
    assert stored(document(annotations={REFRESH: "now"}), before, DAY).known is not before.known


def test_equal_statuses_have_equal_texts():
    one, other = {"a": {"b": 1, "c": "ä"}}, {"a": {"c": "ä", "b": 1}}
    assert status_text(one) == status_text(other) != status_text({})


def test_a_mistake_keeps_the_demand_from_before_until_it_is_corrected():
    before = first(document())
    wrong = first(document(spec(lifetime="25h"), generation=2), before)
    assert wrong.demand == before.demand
    assert "spec.lifetime" in wrong.mistakes[0]
    assert first(document(spec(lifetime="25h"), generation=2), wrong).mistakes == wrong.mistakes
    assert first(document(generation=3), wrong).mistakes == ()


def test_another_object_of_the_same_name_inherits_nothing():
    before = first(document())
    assert first(document(spec(lifetime="25h"), uid="other"), before).demand is None


@pytest.mark.parametrize("text", ["now", "", "yesterday", "2026-11-05"])
def test_a_request_that_is_no_time_is_a_mistake_until_it_goes(text):
    asked = first(document(annotations={REFRESH: text}))
    assert asked.refresh is None
    assert "date -u" in asked.mistakes[0]
    assert first(document(annotations={}), asked).mistakes == ()


def test_a_request_names_a_time():
    asked = first(document(annotations={REFRESH: "1970-01-01T00:01:00Z"}))
    assert (asked.refresh, asked.mistakes) == (60.0, ())


def secret(**values: str | None) -> dict[str, Any]:
    data = {name: value and base64.b64encode(value.encode()).decode() for name, value in values.items()}
    return {"metadata": {"name": "key"}, "data": data}


def test_keys_are_read_and_the_reasons_why_others_are_none():
    found = keys_in(secret(good="a-key\n", empty="", two="a b"), None)
    assert found["good"] == SecretStr("a-key")
    assert found["empty"] == "empty"
    assert "white space" in str(found["two"])


@pytest.mark.parametrize("data", [None, {}, {"a": "not base64!"}, {"a": None}, {"a": 5}])
def test_a_strange_secret_has_no_key(data):
    assert all(isinstance(value, str) for value in keys_in({"data": data}, None).values())


def test_the_same_keys_are_the_same_object():
    before = keys_in(secret(a="a-key"), None)
    assert keys_in(secret(a="a-key"), before) is before
    assert keys_in(secret(a="b-key"), before) is not before


def test_no_key_is_shown():
    assert "a-key" not in repr(keys_in(secret(a="a-key"), None))
