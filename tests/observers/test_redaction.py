"""Keeping secrets out of texts, whatever surrounds them and however they are encoded."""

import base64
import json
import re
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from refresher.core.model import SecretStr
from refresher.observers.redaction import SHORTEST, blot_out

VISIBLE = "".join(
    map(chr, range(0x21, 0x7F))
)  # what keys and tokens are made of (core/keytext, core/answers)
KEY = SecretStr('k&y/1+"quo\\te"=')

secrets = st.text(VISIBLE, min_size=SHORTEST, max_size=40).map(SecretStr)
texts = st.text(max_size=40)
# What gives another meaning to the escape after it is no surrounding but part of an encoding.
tame = st.text(st.characters(exclude_characters="%\\"), max_size=20)


def percent(text: str) -> str:
    return quote(text, safe="")


def json_text(text: str) -> str:
    return json.dumps(text)[1:-1]


def json_of_php(text: str) -> str:
    return json_text(text).replace("/", "\\/")


def json_of_go(text: str) -> str:
    return json_text(text).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003E")


def base64_text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def base64_for_urls(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


ENCODINGS = {
    "as it is": str,
    "percent-encoded": percent,
    "percent-encoded in small letters": lambda text: re.sub(
        "%..", lambda each: each[0].lower(), percent(text)
    ),
    "percent-encoded throughout": lambda text: "".join(f"%{ord(each):02X}" for each in text),
    "JSON": json_text,
    "JSON of PHP": json_of_php,
    "JSON of Go": json_of_go,
    "JSON in JSON": lambda text: json_text(json_text(text)),
    "repr": lambda text: repr(text)[1:-1],
    "repr of bytes": lambda text: repr(text.encode())[2:-1],
    "hexadecimal escapes": lambda text: "".join(f"\\x{ord(each):02x}" for each in text),
    "base64": base64_text,
    "base64 for URLs": base64_for_urls,
    "base64 in a URL": lambda text: percent(base64_text(text)),
    "Basic authentication": lambda text: base64_text(f"user:{text}"),
    "base64 of JSON": lambda text: base64_text(json.dumps({"key": text})),
}
encodings = st.sampled_from(sorted(ENCODINGS)).map(ENCODINGS.__getitem__)


def blotted(text: str, *known: SecretStr) -> str:
    return blot_out(text, lambda: known)


@given(texts, secrets, texts)
def test_a_secret_does_not_come_through_whatever_surrounds_it(before, secret, after):
    left = blotted(before + secret.reveal() + after, secret).replace(repr(secret), "\n")
    assert secret.reveal() not in left


@given(st.lists(secrets, min_size=2, max_size=4), st.data())
def test_of_several_secrets_none_comes_through(known, data):
    pieces = data.draw(st.lists(st.sampled_from([each.reveal() for each in known]) | texts, max_size=8))
    left = blotted("".join(pieces), *known)
    for secret in known:
        left = left.replace(repr(secret), "\n")
    assert not any(secret.reveal() in left for secret in known)


@given(tame, secrets, tame, encodings)
def test_an_encoded_secret_does_not_come_through_whatever_surrounds_it(before, secret, after, encoded):
    left = blotted(before + encoded(secret.reveal()) + after, secret).replace(repr(secret), "\n")
    assert encoded(secret.reveal()) not in left


@given(tame, secrets, tame, encodings)
def test_a_secret_does_not_come_through_in_a_text_that_is_encoded_as_a_whole(before, secret, after, encoded):
    text = encoded((before + secret.reveal() + after).encode("ascii", "ignore").decode())
    assert blotted(text, secret) != text


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_word_of_an_encoded_secret_goes_and_the_others_stay(name):
    encoded = ENCODINGS[name](KEY.reveal())
    assert blotted(f"GET  /x?key={encoded}\tagain", KEY) in (
        f"GET  /x?key={KEY!r}\tagain",  # as it is
        f"GET  {KEY!r}\tagain",
    )


@given(texts, st.lists(st.text(VISIBLE, min_size=8).map(SecretStr), max_size=3))
def test_a_text_without_secrets_is_unchanged(text, known):
    assume(not any(secret.reveal() in text for secret in known))
    assert blotted(text, *known) == text


@given(texts, encodings)
def test_an_encoded_text_without_secrets_is_unchanged(text, encoded):
    encoded_text = encoded(text.encode("ascii", "ignore").decode())
    assume(KEY.reveal() not in text)
    assert blotted(encoded_text, KEY) == encoded_text


def test_of_two_secrets_the_longer_goes_whole_although_the_shorter_is_part_of_it():
    short, long = SecretStr("abcd"), SecretStr("abcd-efgh")
    assert blotted("abcd-efgh abcd", short, long) == f"{long!r} {short!r}"


def test_a_secret_that_is_part_of_the_mark_leaves_the_mark_of_another_whole():
    word, other = SecretStr("secret"), SecretStr("open-sesame")
    assert blotted("secret open-sesame", word, other) == f"{word!r} {other!r}"


def test_what_is_too_short_to_be_secret_is_left_in_the_words_it_is_part_of():
    assert blotted("the key is key", SecretStr("key")) == "the key is key"


def test_a_line_of_megabytes_is_blotted_out_too():
    text = f"{'A' * 1_000_000}{base64_text(KEY.reveal())} {'%41' * 100_000} {KEY.reveal()}"
    left = blotted(text, KEY)
    assert left == f"{KEY!r} {'%41' * 100_000} {KEY!r}"
