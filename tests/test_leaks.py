"""That a leak is found, in whatever form: the tests of secrecy are worth as much as this."""

import base64
import json
from urllib.parse import quote

import pytest

from tests.leaks import PART, leaks

SECRET = "Key/of+the=studio&4f7c91d2\\"
WAYS = {
    "plain": SECRET,
    "in a sentence": f"the key {SECRET!s} was refused",
    "its first part": f"key {SECRET[:PART]}…",
    "its last part": f"…{SECRET[-PART:]}",
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(SECRET.encode()).decode(),
    "base64 of user and password": base64.b64encode(f"user:{SECRET}".encode()).decode(),
    "base64 of a header": base64.b64encode(f"Authorization: Bearer {SECRET}\r\n".encode()).decode(),
    "base64 of JSON": base64.b64encode(json.dumps({"key": SECRET[:-1]}).encode()).decode(),
    "base64 in base64": base64.b64encode(base64.b64encode(SECRET.encode())).decode(),
    "in a URL": f"/?key={quote(SECRET, safe='')}",
    "hexadecimal": SECRET.encode().hex(),
    "escaped": "".join(f"\\u{ord(sign):04x}" for sign in SECRET),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_planted_secret_is_found(way):
    secret = SECRET[:-1] if way == "base64 of JSON" else SECRET
    (first, *_) = leaks({"the log": b"before " + WAYS[way].encode() + b" after", "nothing": b""}, [secret])
    assert first.startswith(f"the log: {secret}, ")


@pytest.mark.parametrize("start", range(len(SECRET) - PART - PART // 2 + 1))
def test_a_part_from_the_middle_is_found(start):
    part = SECRET[start : start + PART + PART // 2]
    assert leaks({"the log": f"a{part}b".encode()}, [SECRET])


def test_base64_is_found_wherever_it_begins():
    for lead in range(7):
        encoded = base64.b64encode(b"x" * lead + SECRET.encode() + b"y" * 5)
        assert leaks({"the log": encoded}, [SECRET]), lead


def test_what_is_no_secret_is_no_leak():
    written = {"the log": b'{"message": "the key 0f3b2a1c9d8e7f60 was refused"}', "metrics": b"# HELP"}
    assert leaks(written, [SECRET]) == []


def test_what_is_too_short_to_be_found_safely_is_no_question_to_ask():
    with pytest.raises(AssertionError, match="too short"):
        leaks({}, ["short"])
