"""A record is believed only if it carries the seal of the key that it names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core.effects import Adopt, Inspect, Mint
from refresher.core.events import Found, KeyRead
from refresher.core.model import Holding, Proof, SecretStr, Token
from refresher.core.notifications import OutputForged, TokenAdopted
from refresher.core.seal import Sealer
from tests.core.builders import KEY, NEW_KEY, Driver, at_work, output, policy, token, write

STATEMENT = '{"sha256": "9f86"}'
TWO = policy(output("a"), output("b"))


def sealed_by(key: SecretStr | None, token: Token) -> Holding:
    """The holding of an output whose record has the seal of `key`; no seal without a key."""
    seal = Sealer(key).seal(STATEMENT) if key else ""
    return Holding(token.facts, token, True, "", Proof(STATEMENT, seal))


# --- The seal itself


def test_a_seal_follows_rfc_2104():
    """Computed with `openssl dgst -sha256 -hmac`. A change would cost every user a mint."""
    sealer = Sealer(SecretStr("key"))
    assert sealer.seal("statement") == "c0108fa143b98f8f1187d1c04c7806571d12c68ad29b20d325fd428980ef8b15"


@given(st.text(), st.text())
def test_a_sealer_accepts_its_own_seal_of_the_same_statement_and_no_other(one, other):
    sealer = Sealer(KEY)
    assert sealer.accepts(Proof(one, sealer.seal(one)))
    assert sealer.accepts(Proof(other, sealer.seal(one))) == (one == other)
    assert not Sealer(NEW_KEY).accepts(Proof(one, sealer.seal(one)))


@pytest.mark.parametrize("seal", ["", "0" * 64, "no seal: ü"])
def test_an_invalid_seal_is_not_accepted(seal):
    assert not Sealer(KEY).accepts(Proof(STATEMENT, seal))


def test_a_sealer_does_not_print_its_key():
    assert repr(Sealer(KEY)) == "<a sealer>"


# --- Records with and without a seal


def test_a_sealed_token_is_adopted():
    driver = Driver(None, sealed_by(KEY, token(1)))
    steps = driver.begin()
    assert [step for step in steps if isinstance(step, Adopt)] == [
        Adopt("file", Holding(token(1).facts, token(1), True))
    ]


@pytest.mark.parametrize("signer", [None, NEW_KEY])
def test_a_token_whose_record_lacks_the_seal_of_its_key_is_replaced_and_reported(signer):
    """Otherwise anyone who can write one output could set the token of all others."""
    driver = Driver(None, sealed_by(signer, token(1)))
    steps = driver.begin()
    assert [type(step) for step in steps] == [Mint]
    assert OutputForged("file") in driver.notifications
    assert driver.minted(token(2)) == [write("file", token(2), "new")]


def test_a_seal_is_checked_when_the_key_is_read_after_the_inspection():
    driver = Driver(None, sealed_by(None, token(1)))
    driver.perform(driver.steps())
    assert driver.notifications == []  # without the key the seal cannot be checked
    driver.observe(KeyRead(KEY))
    assert driver.notifications[-1] == OutputForged("file")
    assert driver.state.output("file").holding == Holding()


def test_a_forged_token_that_seems_to_live_longer_does_not_win():
    forged = token(7, age=-600.0)
    driver = Driver(TWO, sealed_by(KEY, token(1)), sealed_by(None, forged))
    driver.begin()
    assert [
        notification for notification in driver.notifications if isinstance(notification, TokenAdopted)
    ] == [TokenAdopted("a", token(1).facts)]
    assert driver.state.token == token(1)


def test_a_copy_of_an_older_sealed_record_does_not_win():
    driver = Driver(TWO, sealed_by(KEY, token(1, age=600.0)), sealed_by(KEY, token(2)))
    driver.begin()
    assert driver.state.token == token(2)


def test_a_token_of_another_key_counts_as_valid_and_is_not_adopted():
    driver = Driver(None, sealed_by(None, token(1, key=NEW_KEY)))
    steps = driver.begin()
    assert [type(step) for step in steps] == [Mint]
    assert driver.state.output("file").holding.facts == token(1, key=NEW_KEY).facts
    assert driver.notifications[-1] != OutputForged("file")


def test_an_altered_record_of_the_token_in_hand_is_written_again():
    driver = at_work()
    driver.passes(30.0)
    driver.contents["file"] = sealed_by(None, token(1))
    driver.perform(driver.steps())
    assert driver.notifications[-1] == OutputForged("file")
    assert driver.steps() == [write("file", token(1), "repair")]


def test_a_lasting_forgery_is_reported_once():
    driver = at_work()
    driver.passes(30.0)
    assert driver.steps() == [Inspect("file")]
    for times in (1, 0, 0):
        notifications = driver.observe(Found("file", sealed_by(None, token(1))))
        assert notifications.count(OutputForged("file")) == times
