"""How a mistake is put into words: what was given, safely quoted, and what was probably meant."""

import re
from collections.abc import Iterable

LONGEST_QUOTE = 60


def shown(value: object) -> str:
    """`value` as a message may quote it: on one line, escaped, cut after 60 characters."""
    if isinstance(value, str):
        text = repr(value[: LONGEST_QUOTE + 1])
        return text if len(value) <= LONGEST_QUOTE else repr(value[:LONGEST_QUOTE]) + "…"
    if isinstance(value, bool | int | float):
        text = str(value).lower() if isinstance(value, bool) else repr(value)
        return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "…"
    return described(value)


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


def plain(key: str) -> str:
    """A key or file name as it stands in a location: as it is when harmless, quoted and cut otherwise."""
    return key if re.fullmatch(r"[\w./@+$-]{1,200}", key) else shown(key)


def did_you_mean(given: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """``; did you mean lifetime?``, or nothing when no name is near."""
    near = nearest(given, known, likeness)
    return f"; did you mean {near}?" if near else ""


def nearest(given: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The one of `known` that `given` was probably meant to be: capitals, hyphens and typing errors aside."""
    if len(given) > LONGEST_QUOTE:
        return None
    import difflib  # noqa: PLC0415 - 6 ms, and only for who made a mistake

    names = {_folded(name): name for name in known}
    found = difflib.get_close_matches(_folded(given), names, n=1, cutoff=likeness)
    return names[found[0]] if found else None


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
