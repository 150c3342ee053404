"""Which objects have a token."""

from typing import Any

from refresher.controller.desired import judge
from refresher.controller.known import Known
from tests.controller.objects import spec
from tests.controller.test_known import document, first


def named(name: str, created: str, secret: str = "token", **more: Any) -> Known:
    return first(
        document(spec(secret={"name": secret}), name=name, uid=name, creationTimestamp=created, **more)
    )


OLD, NEW = "2026-11-05T10:00:00Z", "2026-11-05T10:00:01Z"


def test_of_two_objects_with_one_secret_the_older_is_served():
    old, new = named("old", OLD), named("new", NEW)
    verdict = judge([new, old], ())
    assert verdict.served == (old,)
    assert "older AccessToken old" in verdict.mistakes["new"][0]
    assert verdict.mistakes.keys() == {"new"}


def test_an_object_with_a_mistake_is_served_as_before_it():
    wrong = named("a", OLD)._replace(mistakes=("spec.lifetime: …",))
    verdict = judge([wrong, named("b", NEW, "other")], ())
    assert [each.name for each in verdict.served] == ["a", "b"]
    assert verdict.mistakes == {"a": ("spec.lifetime: …",)}


def test_an_object_that_never_was_right_is_not_served():
    verdict = judge([named("a", OLD)._replace(demand=None, mistakes=("m",))], ())
    assert (verdict.served, verdict.mistakes) == ((), {"a": ("m",)})


def test_a_secret_with_keys_gets_no_token():
    verdict = judge([named("a", OLD), named("b", NEW, "other")], {("studio", "token")})
    assert [each.name for each in verdict.served] == ["b"]
    assert "application keys" in verdict.mistakes["a"][0]
    assert judge([named("a", OLD)], {("elsewhere", "token")}).mistakes == {}
