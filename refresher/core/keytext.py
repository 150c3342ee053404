"""Parses a key: visible ASCII, as an HTTP header requires."""

import binascii
import re

from refresher.core.model import SecretStr

LONGEST_KEY = 8 * 1024  # bytes in its file: common HTTP servers accept no longer header (nginx: 8k)
SHORTEST_DECODED = 12  # bytes; as many random bytes are hardly ever all visible ASCII

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "UTF-8"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
_WHITE_SPACE = b" \t\r\n\v\f"
# A key is opaque and may contain "=". Only a word for a key before the "=" makes it an assignment.
_ASSIGNMENT = re.compile(
    rb"(?i:export +)?(?=[a-z_0-9]*(?:key|token|secret|inlive))[a-z_][a-z_0-9]*=.", re.IGNORECASE
)
_NOT_VISIBLE_ASCII = re.compile(rb"[^\x21-\x7e]")


def parse_key(raw: bytes) -> SecretStr:
    """The key in `raw`, the whole content of its source, without trailing white space.

    Raises ValueError if it is not a key. The text says why and where, and shows no part of the content.
    """
    if len(raw) > LONGEST_KEY:
        raise ValueError(f"longer than {LONGEST_KEY} bytes")
    for mark, encoding in _BYTE_ORDER_MARKS:
        if raw.startswith(mark):
            raise ValueError(f"begins with a {encoding} byte order mark: save it as plain ASCII")
    text = raw.rstrip(_WHITE_SPACE)
    if not text:
        raise ValueError("empty" if not raw else "nothing but white space")
    if text[0] in _WHITE_SPACE:
        raise ValueError("begins with white space")
    if text[0] in b"\"'" and text[-1] == text[0] and len(text) > 1:
        raise ValueError("in quotes: write the key alone")
    if _ASSIGNMENT.match(text):
        raise ValueError("NAME=VALUE: write the value alone")
    if text.startswith(b"{") and text.endswith(b"}"):
        raise ValueError("JSON: write the key alone")
    invalid = _NOT_VISIBLE_ASCII.search(text)
    if invalid:
        name = _name_of(invalid[0][0])
        raise ValueError(f"{name} at byte {invalid.start() + 1}; a key is visible ASCII only")
    return SecretStr(text.decode("ascii"))


def is_like_base64(key: SecretStr) -> bool:
    """Whether `key` may be the base64 encoding of the key, as in the data of a Kubernetes Secret.

    True if it decodes to visible ASCII. Of keys with 16 random characters, one in 150,000 does.
    """
    try:
        text = binascii.a2b_base64(key.reveal().encode(), strict_mode=True)
    except ValueError:
        return False
    return len(text) >= SHORTEST_DECODED and not _NOT_VISIBLE_ASCII.search(text.rstrip(_WHITE_SPACE))


def _name_of(byte: int) -> str:
    """The kind of an invalid byte, for a message."""
    if byte in b"\r\n":
        return "a line break (more than one line?)"
    if byte in b" \t":
        return "white space (more than the key itself?)"
    if byte == 0:
        return "a NUL"
    return "a control character" if byte < 0x20 or byte == 0x7F else "a character that is not ASCII"
