import copy
import logging
import pickle

import pytest

from refresher.core.instant import Instant
from refresher.core.model import Granted, Holding, Reason, SecretStr, Token, fingerprint
from refresher.core.state import Credential, State
from tests.core.builders import NOW, held, output, policy, token

SECRET = SecretStr("abc")
ABC = "ba7816bf8f01cfea"  # sha256sum of "abc" begins with this (FIPS 180-2, B.1)


def test_a_fingerprint_is_the_first_sixteen_digits_of_sha_256():
    assert fingerprint("abc") == SECRET.fingerprint == ABC


@pytest.mark.parametrize(
    "shown",
    [
        str(SECRET),
        repr(SECRET),
        f"{SECRET}",
        f"{SECRET!r}",
        f"{SECRET!s:>20}",
        f"{SECRET:<30}",
        "%s" % SECRET,  # noqa: UP031 -- this way is tested
        "%r" % SECRET,  # noqa: UP031
        "{:s}".format(SECRET),  # noqa: UP032
        str([SECRET]),
        str({"key": SECRET}),
        logging.LogRecord("", 0, "", 0, "%s", (SECRET,), None).getMessage(),
        repr(Granted(SECRET, SECRET)),
        repr(Token(token().facts, SECRET, SECRET)),
        repr(Holding(token().facts, Token(token().facts, SECRET, SECRET))),
        repr(State((), proven=Credential(SECRET))),
    ],
)
def test_a_secret_prints_its_fingerprint_and_never_itself(shown):
    assert f"<secret {ABC}>" in shown
    assert "abc" not in shown.replace(ABC, "")


def test_only_reveal_shows_a_secret():
    assert SECRET.reveal() == "abc"
    assert not hasattr(SECRET, "__dict__")  # vars() would show it


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_cannot_be_pickled_or_copied(way):
    with pytest.raises(TypeError, match="cannot be pickled"):
        way(SECRET)


def test_secrets_are_equal_when_their_texts_are():
    assert SecretStr("abc") == SECRET
    assert SecretStr("abd") != SECRET
    assert SECRET != "abc"
    assert SecretStr("ключ") == SecretStr("ключ")
    assert len({SECRET, SecretStr("abc"), SecretStr("abd")}) == 2


def test_a_token_expires_one_lifetime_after_it_was_requested():
    facts = token(lifetime=3600.0).facts
    assert facts.expiry == Instant(1_800_003_600.0, 8_600.0)


@pytest.mark.parametrize(
    ("wall", "boot", "remaining"),
    [
        (0.0, 0.0, 3600.0),
        (600.0, 600.0, 3000.0),
        (3600.0, 600.0, 0.0),  # the wall clock jumped ahead
        (-600.0, 600.0, 3000.0),  # it was set back, which makes no token younger
        (10.0, 4000.0, -400.0),  # the machine slept
    ],
)
def test_a_token_expires_by_either_clock(wall, boot, remaining):
    now = Instant(NOW.wall + wall, NOW.boot + boot)
    assert token(lifetime=3600.0).facts.remaining(now) == remaining


@pytest.mark.parametrize(
    ("holding", "remaining"),
    [
        (Holding(), 0.0),
        (held(token(age=600.0)), 3000.0),
        (held(token(age=600.0), intact=False), 3000.0),
        (held(token(age=4000.0)), 0.0),
    ],
)
def test_the_remaining_time_of_a_holding_is_never_negative(holding, remaining):
    assert holding.remaining(NOW) == remaining


@pytest.mark.parametrize(
    ("what", "whole"),
    [
        (token(refresh="refresh"), True),
        (token(refresh=None), True),  # none was issued
        (Token(token(refresh="refresh").facts, SecretStr("access")), False),
    ],
)
def test_a_token_is_complete_if_its_refresh_token_is_known_or_was_not_issued(what, whole):
    assert what.is_complete is whole


def test_reasons_are_the_values_of_the_metric_label():
    assert {*Reason} >= {"first", "scheduled", "key_changed", "reported_expired", "requested"}


def test_the_propagation_delay_of_a_token_is_the_longest_of_its_outputs():
    assert (
        policy(output("a", propagation_delay=30.0), output("b", propagation_delay=120.0)).propagation_delay
        == 120.0
    )
