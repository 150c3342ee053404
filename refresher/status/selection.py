"""Which tokens a page or a table shows: those with matching names, and a limited number of them."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from html import escape
from typing import NamedTuple, TypeVar
from urllib.parse import parse_qs, urlencode

Shown = TypeVar("Shown")

PER_PAGE = 100  # tokens; one takes 1 kB of HTML


class Selection(NamedTuple):
    """What the reader asked for. `token`: see `matches`. `page`: counted from 1. `renews`: the browser
    loads the page again and again."""

    token: str = ""
    page: int = 1
    renews: bool = False

    @property
    def href(self) -> str:
        """The relative address of this selection."""
        words = ["renew"] if self.renews else []
        words += [urlencode({"token": self.token})] if self.token else []
        words += [f"page={self.page}"] if self.page > 1 else []
        return f"?{'&'.join(words)}"


def selection_of(query: str) -> Selection:
    """The selection in the query of an address. What is malformed counts as not given."""
    fields = parse_qs(query, keep_blank_values=True)
    page = fields.get("page", ["1"])[-1]
    number = int(page) if page.isascii() and page.isdigit() and len(page) < 10 else 1
    return Selection(fields.get("token", [""])[-1], max(1, number), "renew" in fields)


ALL = Selection()


def matches(name: str, pattern: str) -> bool:
    """Whether `pattern` selects the token of this name. With ``*`` (any text) or ``?`` (any character) it
    describes the whole name, otherwise it is a part of the name."""
    if "*" in pattern or "?" in pattern:
        return fnmatchcase(name, pattern.replace("[", "[[]"))
    return pattern in name


def visible_of(matching: Sequence[Shown], wanted: Selection) -> Sequence[Shown]:
    """Those on the wanted page."""
    first = (wanted.page - 1) * PER_PAGE
    return matching[first : first + PER_PAGE]


def links_between(wanted: Selection, matching: int) -> str:
    """As HTML: which tokens the page shows, and links to the pages beside it. Empty if it shows all."""
    if not wanted.token and wanted.page == 1 and matching <= PER_PAGE:
        return ""
    numbers = visible_of(range(1, matching + 1), wanted)
    which = f"{numbers[0]} to {numbers[-1]} of {matching}" if numbers else f"none of {matching}"
    named = f" that match <bdi>{escape(wanted.token)}</bdi>" if wanted.token else ""
    pages = {"Previous page": wanted.page - 1, "Next page": wanted.page + 1}
    items = "".join(
        f'<li><a href="{escape(wanted._replace(page=number).href)}">{text}</a></li>'
        for text, number in pages.items()
        if 1 <= number <= -(-matching // PER_PAGE)
    )
    return f'<nav aria-label="Pages"><p>Tokens{named}: {which}</p><ul>{items}</ul></nav>\n'
