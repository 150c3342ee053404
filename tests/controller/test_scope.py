"""The flags that say which objects are served."""

import pytest

from refresher.controller.scope import Scope, scope_of
from refresher.errors import ConfigurationError


@pytest.mark.parametrize(
    ("namespaces", "everywhere", "expected"),
    [
        (None, False, ("home",)),
        (None, True, ()),
        ("a", False, ("a",)),
        ("a, b,a", False, ("a", "b")),
        ("n" * 63, False, ("n" * 63,)),
    ],
)
def test_the_namespaces_of_a_scope(namespaces, everywhere, expected):
    assert scope_of(namespaces, None, "home", everywhere=everywhere) == Scope(expected)


@pytest.mark.parametrize("namespaces", ["", "a,", "A", "a/b", "-a", "n" * 64, "a b"])
def test_what_is_not_the_name_of_a_namespace(namespaces):
    with pytest.raises(ConfigurationError, match=r"--namespaces: .* accepted: NAMESPACE"):
        scope_of(namespaces, None, "home", everywhere=False)


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(ConfigurationError) as caught:
        scope_of("A", "=", "home", everywhere=True)
    assert len(caught.value.problems) == 3


SELECTORS = [
    "team=studio", "team==studio", "team!=studio", "team", "!team", "tier in (a, b)", "tier notin (a),!beta",
    "example.com/team=a, b = c", "team=",
]  # fmt: skip


@pytest.mark.parametrize("selector", SELECTORS)
def test_selectors_as_kubectl_takes_them(selector):
    assert scope_of(None, selector, "home", everywhere=False).selector == selector


@pytest.mark.parametrize("selector", ["", "=a", "a=b,", "a in", "a in b", "a=b c", "a>b", "a" * 3000])
def test_what_is_no_selector(selector):
    with pytest.raises(ConfigurationError, match="--selector"):
        scope_of(None, selector, "home", everywhere=False)


@pytest.mark.parametrize(
    ("scope", "described"),
    [
        (Scope(("a",)), "namespace a"),
        (Scope(("a", "b"), "c=d"), "namespaces a, b, AccessTokens with c=d"),
        (Scope(()), "namespaces (all)"),
    ],
)
def test_a_scope_is_described(scope, described):
    assert scope.described() == described
