"""Reading faults: the accepted values, and the messages about mistakes."""

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.emulator.fault_fields import read
from refresher.emulator.faults import Fault
from refresher.errors import ConfigurationError


@pytest.mark.parametrize(
    ("settings", "where", "accepted"),
    [
        ({"statsu": 500}, "statsu", "did you mean status?"),
        ({"nonsense": 1}, "nonsense", "accepted: body, clock_offset, content_type, count"),
        ({"status": 99}, "status", "99 is not accepted; accepted: a whole number, 100 to 599"),
        ({"status": "500"}, "status", "'500' is not accepted"),
        ({"status": True}, "status", "a whole number"),
        ({"count": 0}, "count", "a whole number, 1 to"),
        ({"scope": "everything"}, "scope", "mint, product, all"),
        ({"scope": ["mint"]}, "scope", "mint, product, all"),
        ({"latency": -1}, "latency", "seconds, 0 to"),
        ({"latency": math.nan}, "latency", "seconds, 0 to"),
        ({"latency": math.inf}, "latency", "seconds, 0 to"),
        ({"latency": 10**400}, "latency", "seconds, 0 to"),
        ({"hang": "yes"}, "hang", "true, false"),
        ({"hang": 1}, "hang", "true, false"),
        ({"endless": True}, "endless", "chunked, close"),
        ({"status": 429, "retry_after": "7\r\nX: y"}, "retry_after", "printable ASCII"),
        ({"redirect": "http://ü"}, "redirect", "printable ASCII"),
        ({"body": object()}, "body", "text, bytes, or a value that JSON can represent"),
        ({"body": "\ud800"}, "body", "text, bytes"),
        ({"retry_after": "7"}, "retry_after", "needs status too"),
        ({"drip_head": True}, "drip_head", "needs drip too"),
        ({"garbage": True, "redirect": "/"}, "garbage", "does not combine with redirect"),
        ({"hang": True, "status": 500}, "hang", "does not combine with status"),
        ({"reset": True, "drip": 1}, "reset", "does not combine with drip"),
        ({"redirect": "/", "status": 500}, "redirect", "accepted: 300 to 399"),
        ({"cut_body": True, "endless": "close"}, "endless", "does not combine with cut_body"),
        ({"same_token": True, "status": 500}, "same_token", "no token is issued"),
        ({"lifetime": 1, "body": "{}"}, "lifetime", "no token is issued"),
        ({"lifetime": 1, "scope": "product"}, "scope", "does not combine with lifetime"),
    ],
)
def test_a_mistake_names_the_field_and_the_accepted_values(
    settings: dict[str, Any], where: str, accepted: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Fault.parse(settings)
    messages = {mistake.where: mistake.text for mistake in raised.value.problems}
    assert accepted in messages[where]


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        Fault.parse({"status": 1, "latency": "long", "colour": "red"})
    assert {mistake.where for mistake in raised.value.problems} == {"status", "latency", "colour"}


def test_a_mistake_never_repeats_a_body() -> None:
    with pytest.raises(ConfigurationError) as raised:
        Fault.parse({"body": {"access_token": {"secret-value"}}})
    assert "secret-value" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({}, Fault()),
        ({"status": None, "count": None}, Fault()),
        ({"status": 503, "retry_after": "Fri, 31 Dec 1999 23:59:59 GMT"},
         Fault(status=503, retry_after="Fri, 31 Dec 1999 23:59:59 GMT")),
        ({"status": 429, "retry_after": 120}, Fault(status=429, retry_after="120")),
        ({"latency": 1}, Fault(latency=1.0)),
        ({"body": "ü"}, Fault(body="ü".encode())),
        ({"body": b"\x00"}, Fault(body=b"\x00")),
        ({"body": {"data": {"access_token": 5}}}, Fault(body=b'{"data": {"access_token": 5}}')),
        ({"body": []}, Fault(body=b"[]")),
        ({"redirect": "/", "status": 302, "latency": 2}, Fault(redirect="/", status=302, latency=2.0)),
        ({"status": 500, "body": "x", "drip": 0.1, "cut_body": True},
         Fault(status=500, body=b"x", drip=0.1, cut_body=True)),
        ({"hang": False, "status": 500}, Fault(status=500)),
    ],
)  # fmt: skip
def test_valid_settings_give_a_fault(settings: dict[str, Any], fault: Fault) -> None:
    assert Fault.parse(settings) == fault


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)
NAMES = st.sampled_from(sorted(Fault.__dataclass_fields__)) | st.text()


@given(st.dictionaries(NAMES, JSON))
def test_any_settings_give_a_fault_or_mistakes(settings: dict[str, object]) -> None:
    with contextlib.suppress(ConfigurationError):
        assert isinstance(Fault.parse(settings), Fault)


def test_every_field_of_a_fault_can_be_read() -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(dict.fromkeys(Fault.__dataclass_fields__, object()))
    assert not [mistake for mistake in raised.value.problems if "no such fault" in mistake.text]
