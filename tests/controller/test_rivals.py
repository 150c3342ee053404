import itertools

import pytest

from refresher.controller.known import Known
from refresher.controller.rivals import mistake, rivals

OLD, NEW = "2026-11-05T10:00:00Z", "2026-11-05T10:00:01Z"


def claim(name, created, secret="token", uid=None):
    return Known("studio", name, uid or name, 1, created, None), ("studio", secret)


@pytest.mark.parametrize(
    ("claims", "losing"),
    [
        ([], {}),
        ([claim("a", OLD)], {}),
        ([claim("a", OLD), claim("b", NEW, "other")], {}),
        ([claim("a", OLD), claim("b", NEW)], {"b": "a"}),
        ([claim("a", NEW), claim("b", OLD)], {"a": "b"}),
        ([claim("a", OLD, uid="2"), claim("b", OLD, uid="1")], {"2": "b"}),
        ([claim("a", OLD), claim("b", NEW), claim("c", NEW)], {"b": "a", "c": "a"}),
        (
            [claim("a", OLD), claim("b", NEW), claim("c", OLD, "s"), claim("d", NEW, "s")],
            {"b": "a", "d": "c"},
        ),
    ],
)
def test_the_oldest_object_gets_the_secret_in_whatever_order_they_are_listed(claims, losing):
    for order in itertools.permutations(claims):
        assert rivals(order) == losing


def test_secrets_of_different_namespaces_are_different():
    (known, _), other = claim("a", OLD), claim("b", NEW)
    assert rivals([(known, ("elsewhere", "token")), other]) == {}


def test_the_loser_is_told_who_wins():
    assert "older AccessToken studio;" in mistake("studio")
