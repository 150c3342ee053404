"""Keeps secrets out of texts that are meant for people: the last line of defence, behind `SecretStr`."""

import base64
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import unquote

from refresher.core.model import SecretStr

SHORTEST = 4  # characters; shorter ones are guessed anyway, and would be blotted out of half of all words

_WORD = re.compile(r"\S+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{6,}")  # six digits hold the four characters of the shortest secret
_PLAIN_DIGITS = str.maketrans("-_", "+/")  # RFC 4648 §5


def blot_out(text: str, secrets: Callable[[], Iterable[SecretStr]]) -> str:
    """`text` with every one of `secrets` in it replaced by ``<secret FINGERPRINT>``.

    Where one stands encoded (base64, percent-encoded, with doubled backslashes) the whole word goes. Costs
    half a microsecond for each secret.
    """
    everything = "\n".join((text, *(form for word in _WORD.findall(text) for form in _decoded(word))))
    found = [secret for secret in secrets() if _is_in(secret, everything)]
    for secret in sorted(found, key=lambda each: -len(each.reveal())):  # one may be part of another
        text = _without(secret, text)
    return text


def _without(secret: SecretStr, text: str) -> str:
    value, name = secret.reveal(), repr(secret)

    def unless_encoded(word: re.Match[str]) -> str:
        return name if any(value in form for form in _decoded(word[0])) else word[0]

    return _WORD.sub(unless_encoded, text.replace(value, name))


def _is_in(secret: SecretStr, text: str) -> bool:
    value = secret.reveal()
    return len(value) >= SHORTEST and value in text


def _decoded(word: str) -> Iterator[str]:
    """What `word`, or a part of it, could be an encoding of."""
    if "%" in word:
        yield unquote(word)
    if "\\" in word:
        yield word.replace("\\\\", "\\")
    for run in _BASE64.findall(word):
        digits = run.translate(_PLAIN_DIGITS)
        for start in range(4):  # where its first group of four begins is not known
            rest = digits[start:]
            whole = rest[: len(rest) - (len(rest) % 4 == 1)]  # one digit over encodes nothing
            yield base64.b64decode(whole + "=" * (-len(whole) % 4)).decode("latin-1")
