"""What can be an application key: text that fits into an HTTP header as it is."""

import binascii
import re

from refresher.core.model import SecretStr

LONGEST_KEY = 8 * 1024  # bytes in its file: common HTTP servers take no longer header (nginx: 8k)
SHORTEST_DECODED = 12  # bytes, of which it is likely that no random ones look like a text

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "UTF-8"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
_WHITE_SPACE = b" \t\r\n\v\f"
# A key is opaque and may have a = in it; what stands before this one must be a word for a key.
_ASSIGNMENT = re.compile(
    rb"(?i:export +)?(?=[a-z_0-9]*(?:key|token|secret|inlive))[a-z_][a-z_0-9]*=.", re.IGNORECASE
)
_NOT_VISIBLE_ASCII = re.compile(rb"[^\x21-\x7e]")


def parse_key(raw: bytes) -> SecretStr:
    """The key that `raw`, the whole content of its source, holds; trailing white space does not count.

    Raises ValueError with the reason, and where it lies, when that cannot be a key. No part of the content
    is in the reason.
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
    misfit = _NOT_VISIBLE_ASCII.search(text)
    if misfit:
        raise ValueError(f"{_named(misfit[0][0])} at byte {misfit.start() + 1}; a key is visible ASCII only")
    return SecretStr(text.decode("ascii"))


def is_like_base64(key: SecretStr) -> bool:
    """Whether `key` may be base64 of the key itself, as in the data of a Kubernetes Secret: decoded it would
    be visible ASCII, which of 16 random characters one in 150,000 is."""
    try:
        text = binascii.a2b_base64(key.reveal().encode(), strict_mode=True)
    except ValueError:
        return False
    return len(text) >= SHORTEST_DECODED and not _NOT_VISIBLE_ASCII.search(text.rstrip(_WHITE_SPACE))


def _named(byte: int) -> str:
    """What sort of byte stands where none like it may."""
    if byte in b"\r\n":
        return "a line break (more than one line?)"
    if byte in b" \t":
        return "white space (more than the key itself?)"
    if byte == 0:
        return "a NUL"
    return "a control character" if byte < 0x20 or byte == 0x7F else "a character that is not ASCII"
