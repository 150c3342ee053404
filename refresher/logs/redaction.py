"""Removes secrets from texts: the last line of defence, behind `SecretStr`.

It finds every key and token that the process holds or held a moment ago, if the secret has at least four
characters and the text contains all of it: as it is, in base64, in hexadecimal, in UTF-16 or UTF-32,
percent-encoded, escaped by backslashes, or in two of these encodings, one inside the other. It does not find
pieces of a secret, other encodings, three encodings inside each other, or secrets that the process has not
read yet.

Pieces are left out on purpose, because short ones occur in ordinary words: a key that begins with
`application-key` would hide the path of its own file.
"""

import re
from collections.abc import Iterable

from refresher.core.encodings import decoded
from refresher.core.model import SecretStr

SHORTEST = 4  # characters; shorter secrets are easily guessed, and occur in half of all words
GRAM = 8  # characters in a row that identify a secret
SPARE = 64  # former secrets that stay known, on top of as many as are held

_WORD = re.compile(r"\S+")  # no secret and no encoding of one contains white space


class SecretIndex:
    """Knows the secrets that are held, and finds them in a text.

    It looks up the parts of a text in dictionaries that contain `GRAM` characters of each secret (all of a
    shorter one), so the cost does not grow with the number of secrets. One thread calls `hold`; any thread
    may call `blot_out`.

    A replaced secret stays known for a while, because a logged line that contains it may not be written yet:
    until `SPARE` others, and as many as are held, were replaced after it.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[SecretStr, ...]] = {}
        self._holders: dict[str, int] = {}  # by a secret's text: how many hold it
        self._replaced: dict[str, SecretStr] = {}  # oldest first
        self._tables: dict[int, dict[str, tuple[SecretStr, ...]]] = {
            length: {} for length in range(SHORTEST, GRAM + 1)
        }

    def hold(self, holder: str, secrets: Iterable[SecretStr]) -> None:
        """Set the secrets of `holder`, a token. Its former ones are replaced."""
        after = {secret.reveal(): secret for secret in secrets}
        before = {secret.reveal(): secret for secret in self._held.get(holder, ())}
        if after.keys() == before.keys():
            return
        if after:
            self._held[holder] = tuple(after.values())
        else:  # the token was removed
            del self._held[holder]
        for text in after.keys() - before.keys():
            self._take(text, after[text])
        for text in before.keys() - after.keys():
            self._release(text, before[text])

    def blot_out(self, text: str) -> str:
        """`text` with each known secret replaced by ``<secret FINGERPRINT>``. A word that contains an encoded
        secret is replaced whole."""
        marks = self._marks("\n".join((text, *decoded(text))))
        if not marks:
            return text
        longest_first = sorted(marks, key=len, reverse=True)  # a secret may contain another
        plain = re.compile("|".join(map(re.escape, longest_first)))
        text = plain.sub(lambda found: marks[found[0]], text)

        def unless_encoded(word: re.Match[str]) -> str:
            forms = tuple(decoded(word[0]))
            return next((marks[value] for value in marks if any(value in form for form in forms)), word[0])

        return _WORD.sub(unless_encoded, text)

    def _marks(self, text: str) -> dict[str, str]:
        """The replacement for each secret in `text`, by the secret."""
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
            rest = tuple(secret for secret in table.get(gram, ()) if secret.reveal() != text)
            if rest:
                table[gram] = rest
            else:
                table.pop(gram, None)


def _grams(text: str) -> list[str]:
    """The parts that may identify a secret. The end comes first: JWTs all begin alike."""
    last = len(text) - GRAM
    if last < 0:
        return [text] if len(text) >= SHORTEST else []
    return [text[at : at + GRAM] for at in (last, last // 2, 0)]
