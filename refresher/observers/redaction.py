"""Keeps secrets out of texts that are meant for people: the last line of defence, behind `SecretStr`.

What it finds: each key and token that somebody holds, or held until a moment ago, if it has at least four
characters and stands there whole: as it is, or in base64, in hexadecimal, in UTF-16 or UTF-32,
percent-encoded, escaped by backslashes, or in two of these around each other. What it does not find: pieces
of a secret, other encodings, three of them around each other, and secrets that the program has not met yet.

Pieces are left out on purpose. Short ones stand in ordinary words: a key that begins with `application-key`
would hide the path of its own file.
"""

import re
from collections.abc import Iterable

from refresher.core.encodings import decoded
from refresher.core.model import SecretStr

SHORTEST = 4  # characters; shorter ones are guessed anyway, and would be blotted out of half of all words
GRAM = 8  # characters in a row by which a secret is found
SPARE = 64  # replaced secrets that stay known beside as many as are held

_WORD = re.compile(r"\S+")  # neither a secret nor any encoding of one has white space in it


class SecretIndex:
    """The secrets that are held, and where they stand in a text.

    A text is searched for `GRAM` characters of each secret (for all of a shorter one), in dictionaries: that
    costs as much for ten thousand secrets as for one. `hold` is called by one thread, `blot_out` by any.

    A secret that nobody holds any more stays known for a while: until as many as are held, and `SPARE`, were
    replaced after it. A line that was logged with it may not be written yet.
    """

    def __init__(self) -> None:
        self._held: dict[str, dict[str, SecretStr]] = {}
        self._holders: dict[str, int] = {}  # by a secret's text: how many hold it
        self._replaced: dict[str, SecretStr] = {}  # the oldest first
        self._tables: dict[int, dict[str, tuple[SecretStr, ...]]] = {
            length: {} for length in range(SHORTEST, GRAM + 1)
        }

    def hold(self, holder: str, secrets: Iterable[SecretStr]) -> None:
        """From now on `holder` holds exactly these."""
        after = {secret.reveal(): secret for secret in secrets}
        before = self._held.get(holder, {})
        if after.keys() == before.keys():
            return
        self._held[holder] = after
        for text in after.keys() - before.keys():
            self._take(text, after[text])
        for text in before.keys() - after.keys():
            self._release(text, before[text])

    def blot_out(self, text: str) -> str:
        """`text` with every known secret in it replaced by ``<secret FINGERPRINT>``.

        Where one stands encoded, the whole word is replaced.
        """
        marks = self._marks("\n".join((text, *decoded(text))))
        if not marks:
            return text
        longest_first = sorted(marks, key=len, reverse=True)  # one may be part of another
        plain = re.compile("|".join(map(re.escape, longest_first)))
        text = plain.sub(lambda found: marks[found[0]], text)

        def unless_encoded(word: re.Match[str]) -> str:
            forms = tuple(decoded(word[0]))
            return next((marks[value] for value in marks if any(value in form for form in forms)), word[0])

        return _WORD.sub(unless_encoded, text)

    def _marks(self, text: str) -> dict[str, str]:
        """What is to be read in place of each secret that stands in `text`."""
        marks, words = {}, text.split()
        for length, table in self._tables.items():
            if not table:
                continue
            for gram in {
                gram
                for word in words
                for at in range(len(word) - length + 1)
                if (gram := word[at : at + length]) in table
            }:
                for secret in table.get(gram, ()):
                    if secret.reveal() in text:
                        marks[secret.reveal()] = repr(secret)
        return marks

    def _take(self, text: str, secret: SecretStr) -> None:
        self._holders[text] = self._holders.get(text, 0) + 1
        if self._holders[text] == 1 and self._replaced.pop(text, None) is None:
            grams = _grams(text)
            if grams:
                table = self._tables[len(grams[0])]
                rarest = min(grams, key=lambda gram: len(table.get(gram, ())))
                table[rarest] = (*table.get(rarest, ()), secret)

    def _release(self, text: str, secret: SecretStr) -> None:
        self._holders[text] -= 1
        if self._holders[text]:
            return
        del self._holders[text]
        self._replaced[text] = secret
        while len(self._replaced) > len(self._holders) + SPARE:
            self._forget(next(iter(self._replaced)))

    def _forget(self, text: str) -> None:
        del self._replaced[text]
        for gram in _grams(text):
            table = self._tables[len(gram)]
            rest = tuple(each for each in table.get(gram, ()) if each.reveal() != text)
            if rest:
                table[gram] = rest
            else:
                table.pop(gram, None)


def _grams(text: str) -> list[str]:
    """By what a secret may be found. The end comes first: tokens that are JWTs begin alike."""
    last = len(text) - GRAM
    if last < 0:
        return [text] if len(text) >= SHORTEST else []
    return [text[at : at + GRAM] for at in (last, last // 2, 0)]
