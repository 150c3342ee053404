"""Keeps secrets out of texts that are meant for people: the last line of defence, behind `SecretStr`."""

import re
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Iterator

from refresher.core.model import SecretStr

SHORTEST = 4  # characters; shorter ones are guessed anyway, and would be blotted out of half of all words
DEPTH = 2  # encodings around one another: base64 in a URL, JSON in JSON

_WORD = re.compile(r"\S+")  # neither a secret nor any encoding of one has white space in it
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")  # RFC 3986 §2.1
_BACKSLASH = re.compile(r"\\(?:(?:u00|x)([0-9A-Fa-f]{2})|(.))")  # JSON (RFC 8259 §7), Python's repr
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{6,}")  # six digits hold the four characters of the shortest secret
_PLAIN_DIGITS = str.maketrans("-_", "+/")  # RFC 4648 §5


def blot_out(text: str, secrets: Callable[[], Iterable[SecretStr]]) -> str:
    """`text` with every one of `secrets` in it replaced by ``<secret FINGERPRINT>``.

    Where one stands encoded (base64, percent-encoded, escaped by backslashes, or two of these) the whole word
    goes. Costs half a microsecond for each secret.
    """
    everything = "\n".join((text, *(form for word in _WORD.findall(text) for form in _decoded(word))))
    marks = {secret.reveal(): repr(secret) for secret in secrets() if _is_in(secret, everything)}
    if not marks:
        return text
    longest_first = sorted(marks, key=len, reverse=True)  # one may be part of another
    plain = re.compile("|".join(map(re.escape, longest_first)))
    text = plain.sub(lambda found: marks[found[0]], text)

    def unless_encoded(word: re.Match[str]) -> str:
        forms = tuple(_decoded(word[0]))
        return next((marks[value] for value in marks if any(value in form for form in forms)), word[0])

    return _WORD.sub(unless_encoded, text)


def _is_in(secret: SecretStr, text: str) -> bool:
    value = secret.reveal()
    return len(value) >= SHORTEST and value in text


def _decoded(text: str, depth: int = DEPTH) -> Iterator[str]:
    """What `text`, or a part of it, could be an encoding of, or an encoding of an encoding."""
    for form in _decoded_once(text):
        yield form
        if depth > 1:
            yield from _decoded(form, depth - 1)


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
