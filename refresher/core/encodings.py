"""What a text may be an encoding of: where a secret could stand without being seen."""

import re
from binascii import a2b_base64
from collections.abc import Iterator

DEPTH = 2  # encodings around one another: base64 in a URL, JSON in JSON

_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")  # RFC 3986 §2.1
_BACKSLASH = re.compile(r"\\(?:(?:u00|x)([0-9A-Fa-f]{2})|(.))")  # JSON (RFC 8259 §7), Python's repr
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{6,}")  # six digits hold the four characters of the shortest secret
_PLAIN_DIGITS = str.maketrans("-_", "+/")  # RFC 4648 §5


def decoded(text: str, depth: int = DEPTH) -> Iterator[str]:
    """What `text`, or a part of it, could be an encoding of, or an encoding of an encoding."""
    for form in _decoded_once(text):
        yield form
        if depth > 1:
            yield from decoded(form, depth - 1)


def _decoded_once(text: str) -> Iterator[str]:
    for mark, escape in (("%", _PERCENT), ("\\", _BACKSLASH)):
        if mark in text:
            yield escape.sub(_unescaped, text)
    for run in _BASE64.findall(text):
        digits = run.translate(_PLAIN_DIGITS)
        for start in range(4):  # where its first group of four begins is not known
            rest = digits[start:]
            whole = rest[: len(rest) - (len(rest) % 4 == 1)]  # one digit over encodes nothing
            yield a2b_base64(whole + "=" * (-len(whole) % 4)).decode("latin-1")


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else escape[2]
