"""How messages quote what users gave, and guess what they meant.

A value in the wrong place may be the application key. So no message quotes more than the first characters of
a refused value: enough to recognise a typing error, too few to use. Every message that quotes a user's value
does so by a function of this module.
"""

import os
import re
from collections.abc import Iterable

LONGEST_QUOTE = 12  # characters
LONGEST_NAME = 60  # characters; longer names get no suggestion

_DOTTED_NAMES = r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)+"  # a host name or an IPv4 address
_SEVERAL_NAMES = r"[a-z0-9._-]+(?:/[a-z0-9._-]+)+"  # base64 has slashes too, but also capitals
_SCHEME = r"(?i:bearer|basic|token|apikey) "
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
    """The first 12 characters of `text`, without any password in a URL."""
    before_password = re.match(r"(?s)((?:[a-z]+://)?[^:@]*):.*@", text)
    return (before_password[1] if before_password else text)[:LONGEST_QUOTE]


def plain(key: str, longest: int = LONGEST_QUOTE) -> str:
    """A key or name as locations show it: unchanged if harmless and short, else quoted and cut."""
    return key if len(key) <= longest and re.fullmatch(_HARMLESS, key) else shown(key)


def variables_alone(template: str) -> str:
    """A valid `string.Template` with … for each text between its variables, which may be a secret. The scheme
    of an Authorization header stays."""

    def replaced(match: re.Match[str]) -> str:
        return match[0] if match[1] or re.fullmatch(_SCHEME, match[0]) else "…"

    return re.sub(r"(\$(?:[A-Za-z_]\w*|\{\w+\}))|(?:\$\$|[^$])+", replaced, template, flags=re.ASCII)


def shown_path(path: str, base: str = "") -> str:
    """A path, relative to `base`, as a message may show it.

    The part that exists is shown in full, and the rest if it looks like a path. Anything else could be a
    secret, and is cut like any value.
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
    """Scheme, host and port of a URL; the rest may hold a password. Other texts as by `shown`."""
    text = re.sub(r"(?s)^(https?://).*@", r"\1", url)
    match = re.match(r"https?://(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?![^/?#])", text)
    return match[0] if match else shown(text)


def shown_host(host: str) -> str:
    """A host name or an IP address. Anything else could be a secret, and is cut like any value."""
    return host if len(host) <= LONGEST_QUOTE or re.fullmatch(_DOTTED_NAMES, host) else shown(host)


def described(value: object) -> str:
    """The type of `value` in words, without the value, which may be a secret."""
    words = (
        (str, "a text"),
        (bool, "a boolean"),
        (int | float, "a number"),
        (dict, "a mapping"),
        (list, "a list"),
    )
    return next((word for type_, word in words if isinstance(value, type_)), "nothing")


def did_you_mean(given: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """``; did you mean lifetime?``, or an empty text if no name is similar."""
    near = nearest(given, known, likeness)
    return f"; did you mean {near}?" if near else ""


def nearest(given: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The name in `known` most like `given`; capitals and punctuation do not count."""
    if len(given) > LONGEST_NAME:
        return None
    import difflib  # noqa: PLC0415 - 6 ms, and only for mistakes

    names = {_folded(name): name for name in known}
    found = difflib.get_close_matches(_folded(given), names, n=1, cutoff=likeness)
    return names[found[0]] if found else None


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
