"""How a text from outside may be shown: on one line, and without the parts that repeat part of a secret."""

import re
from collections.abc import Iterable, Iterator

from refresher.core.encodings import decoded

HIDDEN = "[part of a secret]"  # stands in place of what is not shown
SHORTEST = 6  # characters of a secret; shorter ones, such as "true" in a template, are values and no secrets
TELLING = 8  # this many characters in a row of a secret give part of it away, unless they are a word
LONGEST_WORD = 15  # characters; most English words are shorter ("authentication": 14)

_PLAIN_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_BETWEEN_SPACES = re.compile(r"\S+")


def shown(text: str, secrets: Iterable[str], longest: int) -> str:
    """`text` as a message may show it: `censored`, `printable`, and cut after `longest` characters.

    Only a little more than that is searched for the `secrets`, so that one across the limit is found: to
    search 16 MiB takes half a minute.
    """
    known = printable(censored(text[: longest + TELLING], secrets))
    return known if len(known) <= longest else f"{known[:longest]}…"


def printable(text: str) -> str:
    """`text` on one line: line breaks, control characters and whatever else steers a terminal are escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def censored(text: str, secrets: Iterable[str]) -> str:
    """`text` with each part that gives away part of one of the `secrets` replaced by `HIDDEN`.

    Where a part is encoded (see `encodings.decoded`), everything up to the next white space is replaced.
    """
    known = [secret for secret in secrets if len(secret) >= SHORTEST]
    for secret in known:
        for start, end in reversed(list(_runs(text, secret))):
            text = text[:start] + HIDDEN + text[end:]

    def unless_encoded(word: re.Match[str]) -> str:
        forms = list(decoded(word[0]))
        tells = any(True for secret in known for form in forms for _ in _runs(form, secret))
        return HIDDEN if tells else word[0]

    return _BETWEEN_SPACES.sub(unless_encoded, text) if known else text


def contains(text: str, secret: str) -> bool:
    """Whether the whole of `secret` can be had from `text`, perhaps by decoding it."""
    return text == secret or (
        len(secret) >= SHORTEST and any(secret in form for form in (text, *decoded(text)))
    )


def _runs(text: str, secret: str) -> Iterator[tuple[int, int]]:
    """Where `text` has characters in a row of `secret` that give part of it away: start and end."""
    least = min(TELLING, len(secret))
    at = 0
    while (end := at + least) <= len(text):
        if text[at:end] not in secret:
            at += 1
            continue
        while end < len(text) and text[at : end + 1] in secret:
            end += 1
        if _tells(text[at:end], secret):
            yield at, end
            at = end
        else:
            at += 1


def _tells(run: str, secret: str) -> bool:
    """A word that the two have in common ("application") tells nothing, unless it is half of the secret."""
    is_word = len(run) <= LONGEST_WORD and _PLAIN_WORD.fullmatch(run) is not None
    return not is_word or 2 * len(run) >= len(secret)
