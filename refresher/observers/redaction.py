"""Keeps secrets out of texts that are meant for people: the last line of defence, behind `SecretStr`."""

import re
from collections.abc import Callable, Iterable

from refresher.core.encodings import decoded
from refresher.core.model import SecretStr

SHORTEST = 4  # characters; shorter ones are guessed anyway, and would be blotted out of half of all words

_WORD = re.compile(r"\S+")  # neither a secret nor any encoding of one has white space in it


def blot_out(text: str, secrets: Callable[[], Iterable[SecretStr]]) -> str:
    """`text` with every one of `secrets` in it replaced by ``<secret FINGERPRINT>``.

    Where one stands encoded (base64, percent-encoded, escaped by backslashes, or two of these) the whole word
    goes. Costs half a microsecond for each secret.
    """
    everything = "\n".join((text, *(form for word in _WORD.findall(text) for form in decoded(word))))
    marks = {secret.reveal(): repr(secret) for secret in secrets() if _is_in(secret, everything)}
    if not marks:
        return text
    longest_first = sorted(marks, key=len, reverse=True)  # one may be part of another
    plain = re.compile("|".join(map(re.escape, longest_first)))
    text = plain.sub(lambda found: marks[found[0]], text)

    def unless_encoded(word: re.Match[str]) -> str:
        forms = tuple(decoded(word[0]))
        return next((marks[value] for value in marks if any(value in form for form in forms)), word[0])

    return _WORD.sub(unless_encoded, text)


def _is_in(secret: SecretStr, text: str) -> bool:
    value = secret.reveal()
    return len(value) >= SHORTEST and value in text
