"""Makes a text from outside safe to show: on one line, without parts of a secret."""

import re
from collections.abc import Iterable, Iterator

from refresher.core.encodings import decoded

HIDDEN = "[part of a secret]"  # replaces what is not shown
SHORTEST = 6  # characters of a secret; shorter values, such as "true" in a template, are not secret
TELLING = 8  # characters in a row that reveal part of a secret, unless they are a word
LONGEST_WORD = 15  # characters; most English words are shorter ("authentication": 14)

_PLAIN_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_BETWEEN_SPACES = re.compile(r"\S+")


def shown(text: str, secrets: Iterable[str], longest: int) -> str:
    """`text` as a message may show it: `censored`, `printable`, and cut after `longest` characters.

    Search a few characters more for the `secrets`, to find one that crosses the limit. Do not search all of
    `text`: 16 MiB would take half a minute.
    """
    safe = printable(censored(text[: longest + TELLING], secrets))
    return safe if len(safe) <= longest else f"{safe[:longest]}…"


def printable(text: str) -> str:
    """`text` on one line, with line breaks and all other characters that control a terminal escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def censored(text: str, secrets: Iterable[str]) -> str:
    """`text` with `HIDDEN` in place of everything that reveals part of one of the `secrets`.

    If such a part is encoded (see `encodings.decoded`), the whole word around it is replaced.
    """
    known = [secret for secret in secrets if len(secret) >= SHORTEST]
    for secret in known:
        for start, end in reversed(list(_runs(text, secret))):
            text = text[:start] + HIDDEN + text[end:]

    def unless_encoded(word: re.Match[str]) -> str:
        forms = list(decoded(word[0]))
        reveals = any(True for secret in known for form in forms for _ in _runs(form, secret))
        return HIDDEN if reveals else word[0]

    return _BETWEEN_SPACES.sub(unless_encoded, text) if known else text


def unrevealing(text: str, secrets: Iterable[str]) -> str:
    """`text`, or nothing if it reveals part of one of the `secrets`."""
    return text if censored(text, secrets) == text else ""


def contains(text: str, secret: str) -> bool:
    """Whether `text` contains all of `secret`, as it is or encoded."""
    return text == secret or (
        len(secret) >= SHORTEST and any(secret in form for form in (text, *decoded(text)))
    )


def _runs(text: str, secret: str) -> Iterator[tuple[int, int]]:
    """Start and end of each part of `text` that reveals part of `secret`."""
    least = min(TELLING, len(secret))
    at = 0
    while (end := at + least) <= len(text):
        if text[at:end] not in secret:
            at += 1
            continue
        while end < len(text) and text[at : end + 1] in secret:
            end += 1
        if _reveals(text[at:end], secret):
            yield at, end
            at = end
        else:
            at += 1


def _reveals(run: str, secret: str) -> bool:
    """A common word ("application") reveals nothing, unless it is half of the secret."""
    is_word = len(run) <= LONGEST_WORD and _PLAIN_WORD.fullmatch(run) is not None
    return not is_word or 2 * len(run) >= len(secret)
