import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core import adoption
from refresher.core.instant import Instant
from refresher.core.model import Holding
from refresher.core.state import OutputState
from tests.core.builders import (
    ISSUER_URL,
    KEY,
    NEW_KEY,
    NOW,
    OTHER_ISSUER_URL,
    held,
    held_opaquely,
    held_without_refresh,
    token,
)

HOUR = 3600.0


def chosen(*holdings, key=KEY, now=NOW):
    """The index of the output whose token is adopted."""
    outputs = [OutputState(str(number), holding) for number, holding in enumerate(holdings)]
    choice = adoption.choose(outputs, key.fingerprint, ISSUER_URL, HOUR, now)
    return None if choice is None else int(choice.name)


@pytest.mark.parametrize(
    ("holding", "because"),
    [
        (held(token(age=3599.0)), "it is valid for a second yet"),
        (held(token(lifetime=1800.0, requested=HOUR)), "its own claims shorten the requested lifetime"),
        (held(token(), intact=False), "only the mode of the file was altered"),
        (held_opaquely(token()), "its expiry is known, though its value is not"),
        (held_without_refresh(token()), "only its refresh token is unknown"),
    ],
)
def test_a_valid_token_of_this_key_and_lifetime_is_adopted(holding, because):
    assert chosen(holding) == 0, because


@pytest.mark.parametrize(
    ("holding", "because"),
    [
        (None, "the output was not inspected"),
        (Holding(), "there is nothing"),
        (held(token(age=HOUR)), "it has expired"),
        (held(token(age=2 * HOUR)), "it has expired long ago"),
        (held(token(key=NEW_KEY)), "it is of another key"),
        (held(token(issuer=OTHER_ISSUER_URL)), "it is of another issuer, which accepts the same key"),
        (held(token(lifetime=HOUR, requested=7200.0)), "another lifetime was requested"),
        (held(token(lifetime=1800.0)), "another lifetime was requested"),
    ],
)
def test_no_other_token_is_adopted(holding, because):
    assert chosen(holding) is None, because


def test_a_token_that_has_expired_by_either_clock_is_not_adopted():
    assert chosen(held(token()), now=Instant(NOW.wall + 60.0, NOW.boot + HOUR)) is None  # the machine slept
    assert chosen(held(token()), now=Instant(NOW.wall + HOUR, NOW.boot + 60.0)) is None  # the clock was set


@pytest.mark.parametrize(
    ("holdings", "number", "because"),
    [
        ((held(token(1, age=900.0)), held(token(2, age=60.0))), 1, "it lasts longer"),
        (
            (held(token(1, age=900.0)), held_opaquely(token(2, age=60.0))),
            1,
            "it lives longer, though its value is unknown",
        ),
        ((held_opaquely(token()), held(token())), 1, "the same token, and its value is known"),
        ((held_without_refresh(token()), held(token())), 1, "the same token, and it is complete"),
        (
            (held_opaquely(token()), held_without_refresh(token())),
            1,
            "the same token, and at least its value is known",
        ),
        ((held(token(1, key=NEW_KEY)), held(token(2, age=3000.0))), 1, "the other is of another key"),
        (
            (held(token(1, issuer=OTHER_ISSUER_URL)), held(token(2, age=3000.0))),
            1,
            "the other is of another issuer",
        ),
        ((Holding(), held(token(1, age=3600.0)), held(token(2, age=3599.0))), 2, "the others are useless"),
    ],
)
def test_the_longest_living_token_is_adopted_from_its_most_complete_copy(holdings, number, because):
    assert chosen(*holdings) == number, because
    assert chosen(*reversed(holdings)) == len(holdings) - 1 - number, because


def test_tokens_are_compared_by_fingerprint_not_by_expiry():
    """The outputs were inspected one after the other, and clocks drift. A copy that seems to live a moment
    longer must not be preferred to a complete one."""
    known, opaque = held(token(1, age=60.0)), held_opaquely(token(1, age=59.999))
    assert chosen(opaque, known) == 1
    assert chosen(known, opaque) == 0


def numbered(age: float, lifetime: float) -> int:
    """A number for the fingerprint: tokens with another expiry are different tokens."""
    return hash((age, lifetime)) & 0xFFFF_FFFF


holdings = st.builds(
    lambda held_as, age, lifetime, requested, key, issuer: held_as(
        token(
            numbered(age, lifetime), age=age, lifetime=lifetime, requested=requested, key=key, issuer=issuer
        )
    ),
    st.sampled_from((held, held_opaquely, held_without_refresh)),
    st.floats(-10.0, 8000.0),
    st.sampled_from((1800.0, HOUR)),
    st.sampled_from((HOUR, 7200.0)),
    st.sampled_from((KEY, NEW_KEY)),
    st.sampled_from((ISSUER_URL, OTHER_ISSUER_URL)),
)


@given(st.lists(st.none() | st.just(Holding()) | holdings, max_size=5))
def test_the_best_adoptable_token_is_adopted(found):
    number = chosen(*found)
    fit = [
        each.remaining(NOW)
        for each in found
        if each
        and each.facts
        and each.facts.key_fingerprint == KEY.fingerprint
        and each.facts.issuer == ISSUER_URL
        and each.facts.requested == HOUR
    ]
    best = max(fit, default=0.0)
    if number is None:
        assert best == 0.0
    else:
        assert found[number].remaining(NOW) == best > 0.0
        assert found[number].facts.key_fingerprint == KEY.fingerprint
        assert found[number].facts.issuer == ISSUER_URL
        assert found[number].facts.requested == HOUR
