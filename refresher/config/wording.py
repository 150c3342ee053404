"""How a mistake is put into words: what was given, safely quoted, and what was probably meant.

A value in the wrong place may be the application key. So no message quotes more of a refused value than its
first characters: enough to recognise a mistake, too few to use. Every message that quotes what a user gave
does so by a function of this module.
"""

import os
import re
from collections.abc import Iterable

LONGEST_QUOTE = 12
LONGEST_NAME = 60  # of which it is guessed what was meant

_SEVERAL_NAMES = r"[a-z0-9._-]+(?:/[a-z0-9._-]+)+"  # base64 has slashes too, but also capitals
_HARMLESS = r"[\w./@+$…-]+"


def shown(value: object) -> str:
    """`value` as a message may quote it: on one line, escaped, cut after 12 characters."""
    if isinstance(value, str):
        start = beginning(value)
        return repr(start) if start == value else repr(start) + "…"
    if isinstance(value, bool | int | float):
        text = str(value).lower() if isinstance(value, bool) else repr(value)
        return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "…"
    return described(value)


def beginning(text: str) -> str:
    """As much of a text as may be shown: 12 characters, and nothing of the password in a URL."""
    before_password = re.match(r"(?s)((?:[a-z]+://)?[^:@]*):.*@", text)
    return (before_password[1] if before_password else text)[:LONGEST_QUOTE]


def plain(key: str, longest: int = LONGEST_QUOTE) -> str:
    """A key or name as it stands in a location: as it is if harmless and short, quoted and cut otherwise."""
    return key if len(key) <= longest and re.fullmatch(_HARMLESS, key) else shown(key)


def shown_path(path: str, base: str = "") -> str:
    """A path, relative to `base`, as a message may show it: what exists of it, and the rest if it has the
    form of a path. Of anything else, a secret perhaps, no more than of any other value.
    """
    there = path
    while there and not os.path.lexists(os.path.join(base, there)) and there != os.path.dirname(there):
        there = os.path.dirname(there)
    rest = path[len(there) :].lstrip("/")
    start = beginning(rest)
    if start != rest and not re.fullmatch(_SEVERAL_NAMES, rest):
        path = f"{path[: len(path) - len(rest)]}{start}…"
    return path if re.fullmatch(_HARMLESS, path) else repr(path)


def shown_url(url: str) -> str:
    """Scheme, host and port of a URL: the rest of it may be a password. Of anything else as `shown`."""
    text = re.sub(r"(?s)^(https?://).*@", r"\1", url)
    match = re.match(r"https?://(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?![^/?#])", text)
    return match[0] if match else shown(text)


def described(value: object) -> str:
    """What sort of value it is, without the value: it may be a secret."""
    sorts = (
        (str, "a text"),
        (bool, "a boolean"),
        (int | float, "a number"),
        (dict, "a mapping"),
        (list, "a list"),
    )
    return next((name for sort, name in sorts if isinstance(value, sort)), "nothing")


def did_you_mean(given: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """``; did you mean lifetime?``, or nothing when no name is near."""
    near = nearest(given, known, likeness)
    return f"; did you mean {near}?" if near else ""


def nearest(given: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The one of `known` that `given` was probably meant to be: capitals, hyphens and typing errors aside."""
    if len(given) > LONGEST_NAME:
        return None
    import difflib  # noqa: PLC0415 - 6 ms, and only for who made a mistake

    names = {_folded(name): name for name in known}
    found = difflib.get_close_matches(_folded(given), names, n=1, cutoff=likeness)
    return names[found[0]] if found else None


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
