"""Decodes texts in all common ways, to find secrets in encoded form."""

import re
from binascii import a2b_base64
from collections.abc import Iterable, Iterator

DEPTH = 2  # nested encodings: base64 in a URL, JSON in JSON, base64 in base64

_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")  # RFC 3986 §2.1
_BACKSLASH = re.compile(r"\\(?:(?:u00|x)([0-9A-Fa-f]{2})|(.))")  # JSON (RFC 8259 §7), Python's repr
_BASE64 = re.compile(r"[A-Za-z0-9+/]{6,}")  # six digits encode four characters, the shortest secret
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{8,}")
_PLAIN_DIGITS = str.maketrans("-_", "+/")  # RFC 4648 §5
_PADDING = ("", "", "==", "=")  # by the number of digits after the last whole group of four
_VISIBLE = re.compile(r"[!-~]{4,}")  # keys and tokens are visible ASCII; ignore everything else


def decoded(text: str, depth: int = DEPTH) -> Iterator[str]:
    """Every text that `text` or a part of it may encode, also in two nested encodings (`depth`). From each
    decoded text it yields the runs of four or more visible ASCII characters, one a line.

    NULs are dropped from each decoded text: UTF-16 and UTF-32 add them between ASCII characters.
    """
    for whole in _decoded_once(text):
        form = "\n".join(_VISIBLE.findall(whole.replace("\0", "")))
        if form:
            yield form
            if depth > 1:
                yield from decoded(form, depth - 1)


def _decoded_once(text: str) -> Iterator[str]:
    if "\0" in text:
        yield text
    for mark, escape in (("%", _PERCENT), ("\\", _BACKSLASH)):
        if mark in text:
            yield escape.sub(_unescaped, text)
    runs = _BASE64.findall(text.translate(_PLAIN_DIGITS))
    yield _on_lines(_from_base64(run, start) for run in runs for start in range(4))
    runs = _HEXADECIMAL.findall(text)
    yield _on_lines(_from_hexadecimal(run, start) for run in runs for start in range(2))


def _on_lines(octets: Iterable[bytes]) -> str:
    return b"\n".join(octets).decode("latin-1")


def _from_base64(digits: str, start: int) -> bytes:
    """`start`: where the first group of four may begin. A single last digit encodes nothing."""
    rest = (len(digits) - start) % 4
    return a2b_base64(digits[start : len(digits) - (rest == 1)] + _PADDING[rest])


def _from_hexadecimal(digits: str, start: int) -> bytes:
    return bytes.fromhex(digits[start : len(digits) - (len(digits) - start) % 2])


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else escape[2]
