"""Parsing an application key."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core.keytext import LONGEST_KEY, is_like_base64, parse_key
from refresher.core.model import SecretStr


@pytest.mark.parametrize("trailing", [b"", b"\n", b"\r\n", b" \t\r\n\v\f\n"])
def test_trailing_white_space_is_not_part_of_the_key(trailing: bytes) -> None:
    assert parse_key(b"app-key_1~" + trailing).reveal() == "app-key_1~"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(b" \r\n", "nothing but white space", id="white space only"),
        pytest.param(b"k" * LONGEST_KEY + b"\n", "longer than 8192 bytes", id="over 8 KiB"),
        pytest.param(b"\xef\xbb\xbfsesame", "UTF-8 byte order mark", id="BOM of UTF-8"),
        pytest.param("sesame".encode("utf-16"), "UTF-16 byte order mark", id="BOM of UTF-16, little-endian"),
        pytest.param(b"\xfe\xff\0s\0e", "UTF-16 byte order mark", id="BOM of UTF-16, big-endian"),
        pytest.param("sesame".encode("utf-16-le"), "a NUL at byte 2", id="UTF-16 without a BOM"),
        pytest.param(b'"sesame"\n', "in quotes: write the key alone", id="double quotes"),
        pytest.param(b"'sesame'", "in quotes: write the key alone", id="single quotes"),
        pytest.param(b"INLIVE_KEY=sesame", "NAME=VALUE: write the value alone", id="a variable"),
        pytest.param(b"api_key=sesame", "NAME=VALUE: write the value alone", id="a setting"),
        pytest.param(b"export KEY='sesame'", "NAME=VALUE: write the value alone", id="an exported variable"),
        pytest.param(b'{"key":"sesame"}', "JSON: write the key alone", id="JSON"),
        pytest.param(b"\tsesame", "begins with white space", id="leading white space"),
        pytest.param(b"sesame\0", "a NUL at byte 7", id="NUL at the end"),
        pytest.param(b"ses\x1bame", "a control character at byte 4", id="escape"),
        pytest.param(b"ses\x7fame", "a control character at byte 4", id="delete"),
        pytest.param(b"sesame\nsesame", "a line break (more than one line?) at byte 7", id="two lines"),
        pytest.param(
            b"Bearer sesame", "white space (more than the key itself?) at byte 7", id="with its scheme"
        ),
        pytest.param("ses\u00e1me".encode(), "a character that is not ASCII at byte 4", id="accent"),
    ],
)
def test_an_invalid_key_is_refused_with_reason_and_position(raw: bytes, reason: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 -- the text is compared below
        parse_key(raw)
    assert reason in str(refusal.value)
    assert "sesame" not in str(refusal.value)


def test_a_key_of_8_kib_is_accepted() -> None:
    assert len(parse_key(b"k" * LONGEST_KEY).reveal()) == LONGEST_KEY


@given(st.binary(max_size=64))
def test_every_accepted_key_fits_in_a_header(raw: bytes) -> None:
    try:
        key = parse_key(raw).reveal()
    except ValueError:
        return
    assert key
    assert all("\x21" <= each <= "\x7e" for each in key)
    assert raw.startswith(key.encode())


@given(st.binary(max_size=8), st.sampled_from([b"\0", b" ", b"\n", b"\x1b", b"\xff"]), st.binary(max_size=8))
def test_the_reason_contains_no_part_of_a_refused_key(before: bytes, misfit: bytes, after: bytes) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 -- the text is checked below
        parse_key(b"S3same" + before + misfit + after + b"hunt3r")
    reason = str(refusal.value)
    assert "S3same" not in reason
    assert "hunt3r" not in reason
    assert reason.isprintable()


@pytest.mark.parametrize(
    ("key", "is_like"),
    [
        (base64.b64encode(b"inlive-application-key-4f7c91d2").decode(), True),
        (base64.b64encode(b"inlive-application-key-4f7c91d2\n").decode(), True),  # `base64 FILE`
        (base64.b64encode(bytes(range(160, 192))).decode(), False),  # a key that is made like this
        (base64.b64encode(b"short").decode(), False),
        ("inlive-application-key-4f7c91d2", False),
        ("0123456789abcdef0123456789abcdef", False),
    ],
)
def test_a_base64_encoded_key_is_recognized(key, is_like):
    assert is_like_base64(SecretStr(key)) is is_like


@pytest.mark.parametrize(
    "key", ["Zq1f0/WcT5d9+mN3=x8Hn2XkLm", "Zq1f0WcT5d9mN3==", "abc=def", '"', "a'b'", "{", "}{"]
)
def test_a_key_is_opaque(key):
    assert parse_key(key.encode()).reveal() == key
