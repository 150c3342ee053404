"""Removing secrets from texts, whatever surrounds them and however they are encoded."""

import base64
import contextlib
import hashlib
import itertools
import json
import re
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from refresher.core.model import SecretStr
from refresher.logs.redaction import SHORTEST, SPARE, SecretIndex

VISIBLE = "".join(
    map(chr, range(0x21, 0x7F))
)  # what keys and tokens are made of (core/keytext, core/issuer_response)
KEY = SecretStr('k&y/1+"quo\\te"=')

secrets = st.text(VISIBLE, min_size=SHORTEST, max_size=40).map(SecretStr)
texts = st.text(max_size=40)
# A character that changes the meaning of the escape after it would be part of an encoding.
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
    "base64 in base64": lambda text: base64_text(base64_text(text)),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal in capitals": lambda text: text.encode().hex().upper(),
    "hexadecimal in base64": lambda text: base64_text(text.encode().hex()),
    "UTF-16": lambda text: text.encode("utf-16-le").decode("latin-1"),
    "UTF-16 in base64": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    "UTF-32 in hexadecimal": lambda text: text.encode("utf-32-be").hex(),
}
encodings = st.sampled_from(sorted(ENCODINGS)).map(ENCODINGS.__getitem__)


def blotted(text: str, *known: SecretStr) -> str:
    index = SecretIndex()
    index.hold("studio", known)
    return index.blot_out(text)


@given(texts, secrets, texts)
def test_a_secret_is_removed_whatever_surrounds_it(before, secret, after):
    left = blotted(before + secret.reveal() + after, secret).replace(repr(secret), "\n")
    assert secret.reveal() not in left


@given(st.lists(secrets, min_size=2, max_size=4), st.data())
def test_each_of_several_secrets_is_removed(known, data):
    pieces = data.draw(st.lists(st.sampled_from([each.reveal() for each in known]) | texts, max_size=8))
    left = blotted("".join(pieces), *known)
    for secret in known:
        left = left.replace(repr(secret), "\n")
    assert not any(secret.reveal() in left for secret in known)


@given(tame, secrets, tame, encodings)
def test_an_encoded_secret_is_removed_whatever_surrounds_it(before, secret, after, encoded):
    left = blotted(before + encoded(secret.reveal()) + after, secret).replace(repr(secret), "\n")
    assert encoded(secret.reveal()) not in left


@given(tame, secrets, tame, encodings)
def test_a_secret_is_removed_from_a_text_that_is_encoded_as_a_whole(before, secret, after, encoded):
    text = encoded((before + secret.reveal() + after).encode("ascii", "ignore").decode())
    assert blotted(text, secret) != text


@pytest.mark.parametrize("digits", ["", "a", "ab", "abc", "abcd"])
@pytest.mark.parametrize("name", ["base64", "base64 for URLs", "hexadecimal"])
def test_digits_before_an_encoded_secret_do_not_hide_it(name, digits):
    assert blotted(f"{digits}{ENCODINGS[name](KEY.reveal())}", KEY) == repr(KEY)


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_word_of_an_encoded_secret_is_removed_and_the_others_stay(name):
    encoded = ENCODINGS[name](KEY.reveal())
    assert blotted(f"GET  /x?key={encoded}\tagain", KEY) in (
        f"GET  /x?key={KEY!r}\tagain",  # as it is
        f"GET  {KEY!r}\tagain",
    )


# --- The index finds what an exhaustive search finds.


def forms(text: str, depth: int = 2) -> set[str]:
    """Everything that `text` or a part of it could be an encoding of. Slow and simple."""
    if depth == 0:
        return {text}
    once = {text, re.sub("%([0-9A-Fa-f]{2})", lambda each: chr(int(each[1], 16)), text)}
    once.add(
        re.sub(r"\\(?:u00|x)([0-9A-Fa-f]{2})|\\(.)", lambda each: each[2] or chr(int(each[1], 16)), text)
    )
    for digits in re.findall("[A-Za-z0-9+/_-]+", text):
        for start, end in itertools.product(range(4), range(len(digits) - 3, len(digits) + 1)):
            with contextlib.suppress(ValueError):
                part = digits[start:end].replace("-", "+").replace("_", "/")
                once.add(base64.b64decode(part + "=" * (-len(part) % 4), validate=True).decode("latin-1"))
    for digits in re.findall("[0-9A-Fa-f]+", text):
        for start, end in itertools.product(range(2), (len(digits) - 1, len(digits))):
            with contextlib.suppress(ValueError):
                once.add(bytes.fromhex(digits[start:end]).decode("latin-1"))
    return once.union(*(forms(form, depth - 1) for form in once if form != text))


strangers = st.text(VISIBLE, min_size=4, max_size=12)
pieces = st.builds(lambda encoded, stranger: encoded(stranger), encodings, strangers)


@given(st.lists(secrets, min_size=1, max_size=3), st.data())
def test_everything_that_an_exhaustive_search_finds_is_removed(known, data):
    known_pieces = st.builds(
        lambda encoded, secret: encoded(secret.reveal()), encodings, st.sampled_from(known)
    )
    drawn = data.draw(st.lists(known_pieces | pieces | tame | st.just(" "), max_size=4))
    left = blotted("".join(drawn), *known)
    for secret in known:
        left = left.replace(repr(secret), "\n")
    everything = "\n".join(form for word in left.split() for form in forms(word)).replace("\0", "")
    assert not any(secret.reveal() in everything for secret in known)


# --- Which secrets are known, and for how long.


def jwt(number: int) -> SecretStr:
    """Tokens of one issuer begin alike, and many differ only in the signature."""
    head = f"{base64_for_urls(json.dumps({'alg': 'HS256'}))}.{base64_for_urls(json.dumps({'aud': 'hub'}))}"
    return SecretStr(f"{head}.{hashlib.sha256(str(number).encode()).hexdigest()}")


def is_known(index: SecretIndex, secret: SecretStr) -> bool:
    return index.blot_out(secret.reveal()) == repr(secret)


changes = st.tuples(st.sampled_from("abc"), st.sets(st.integers(0, 7)), st.integers(0, 40))


@given(st.lists(changes, min_size=1, max_size=30))
def test_held_secrets_are_known_and_replaced_ones_stay_known_for_a_while(changes):
    index, held, last_seen, so_far = SecretIndex(), {}, {}, 0
    texts = ("abcd", "abcde", "efgh", "abcdefgh", "01234567-abc", "01234567-abd", 9 * "a", 10 * "a")
    everything = [SecretStr(text) for text in texts]
    for holder, numbers, others in changes:
        for number in range(so_far, so_far + others):  # others come and go meanwhile
            index.hold("other", [SecretStr(f"other secret {number}")])
        so_far += others
        held[holder] = {everything[number] for number in numbers}
        index.hold(holder, held[holder])
        last_seen |= dict.fromkeys(set().union(*held.values()), so_far)
        for secret in everything:
            if secret in last_seen and so_far - last_seen[secret] < SPARE - len(everything):
                assert is_known(index, secret)


def test_only_as_many_replaced_secrets_stay_known_as_are_held_and_a_few():
    index = SecretIndex()
    for number in range(10 * SPARE):
        index.hold("a", [jwt(number)])
    known = [number for number in range(10 * SPARE) if is_known(index, jwt(number))]
    assert known == list(range(10 * SPARE - SPARE - 2, 10 * SPARE))


def test_a_text_is_compared_with_few_of_many_secrets_even_if_all_begin_alike():
    class Counting(SecretStr):
        __slots__ = ()

        def reveal(self) -> str:
            compared.append(self)
            return super().reveal()

    compared: list[SecretStr] = []
    index = SecretIndex()
    for number in range(500):
        index.hold(str(number), [Counting(jwt(number).reveal())])
    compared.clear()
    stranger = jwt(1000).reveal()
    assert index.blot_out(f"header {stranger}") == f"header {stranger}"
    assert index.blot_out(f"header {jwt(7).reveal()}") == f"header {jwt(7)!r}"
    assert len(compared) < 10


# --- Everything else stays.


def test_a_piece_of_a_secret_stays():
    """A key that begins like the name of its file must not hide the name."""
    path = "/var/run/secrets/inlive/application-key"
    assert blotted(path, SecretStr("application-key-Zq1f0WcT5d9")) == path


@given(texts, st.lists(st.text(VISIBLE, min_size=8).map(SecretStr), max_size=3))
def test_a_text_without_secrets_is_unchanged(text, known):
    assume(not any(secret.reveal() in text for secret in known))
    assert blotted(text, *known) == text


@given(texts, encodings)
def test_an_encoded_text_without_secrets_is_unchanged(text, encoded):
    encoded_text = encoded(text.encode("ascii", "ignore").decode())
    assume(KEY.reveal() not in text)
    assert blotted(encoded_text, KEY) == encoded_text


def test_a_secret_that_contains_another_is_removed_whole():
    short, long = SecretStr("abcd"), SecretStr("abcd-efgh")
    assert blotted("abcd-efgh abcd", short, long) == f"{long!r} {short!r}"


def test_a_secret_that_is_part_of_the_mark_does_not_break_the_mark_of_another():
    word, other = SecretStr("secret"), SecretStr("open-sesame")
    assert blotted("secret open-sesame", word, other) == f"{word!r} {other!r}"


def test_a_secret_that_is_too_short_stays():
    assert blotted("the key is key", SecretStr("key")) == "the key is key"


def test_a_secret_is_removed_from_a_line_of_megabytes():
    text = f"{'A' * 1_000_000}{base64_text(KEY.reveal())} {'%41' * 100_000} {KEY.reveal()}"
    left = blotted(text, KEY)
    assert left == f"{KEY!r} {'%41' * 100_000} {KEY!r}"
