import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.config.checks import mistakes_of_period
from refresher.config.declarations import FileOutputSettings, TokenSettings
from refresher.core.schedule import margin

HEAD = "tokens:\n- name: a\n  key_file: k\n  outputs: [{file: t, runway: 30s}]\n"


def token(lifetime, runway=0.0, name="studio"):
    return TokenSettings(
        name, "/k", (FileOutputSettings("/a"), FileOutputSettings("/b", runway=runway)), lifetime
    )


def test_a_lifetime_up_to_the_operators_policy_is_accepted(loaded, mistakes):
    assert loaded(HEAD + "  lifetime: 24h\n").settings.tokens[0].lifetime == 86400.0
    assert mistakes(HEAD + "  lifetime: 24h1m\n") == [
        "refresher.yaml:5: tokens[0].lifetime: 24h1m is more than issuer.max_lifetime allows; "
        "accepted: 10s to 24h, or raise issuer.max_lifetime"
    ]


def test_the_operators_policy_can_be_raised_and_lowered(loaded, mistakes):
    assert loaded("issuer: {max_lifetime: 30d}\n" + HEAD + "  lifetime: 20d\n")
    [mistake] = mistakes("issuer: {max_lifetime: 30m}\n" + HEAD)
    assert mistake.startswith(
        "refresher.yaml:3: tokens[0].lifetime: 1h is more than issuer.max_lifetime allows"
    )
    assert mistake.endswith("raise issuer.max_lifetime (line 1)")


def test_a_consumer_slower_than_half_the_lifetime_cannot_be_served(loaded, mistakes):
    assert loaded(HEAD + "  lifetime: 61s\n")
    assert (
        "tokens[0].outputs[0].runway: 30s is half of the lifetime 1m or more"
        in mistakes(HEAD + "  lifetime: 1m\n")[0]
    )


def test_a_period_that_cannot_hold_the_promise_is_told_with_its_arithmetic():
    assert [str(mistake) for mistake in mistakes_of_period(3000.0, [token(3000.0, 30.0), token(7200.0)])] == [
        '--every 50m: 50m + 1m30s margin ≥ lifetime 50m of token "studio"; '
        "accepted: less than 48m30s, or a longer lifetime"
    ]


@pytest.mark.parametrize(("every", "fits"), [(3539.9, True), (3540.0, False), (3600.0, False)])
def test_period_and_margin_together_must_be_shorter_than_the_lifetime(every, fits):
    assert (not mistakes_of_period(every, [token(3600.0)])) is fits


@given(st.floats(1, 1e5), st.integers(10, 86400), st.floats(0, 1e4))
def test_a_period_is_accepted_exactly_when_it_leaves_the_margin(every, lifetime, runway):
    accepted = not mistakes_of_period(every, [token(float(lifetime), runway)])
    assert accepted == (every + margin(lifetime, runway) < lifetime)
