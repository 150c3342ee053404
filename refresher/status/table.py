"""The status as a table for a terminal or a pipe."""

import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from refresher.status.rows import (
    UNKNOWN,
    URGENCY,
    Row,
    RowProblem,
    advice_once,
    configuration_since,
    headline,
    kind_of,
    lease_lines,
    problems_of_daemon,
    rows_by_token,
    source_line,
)

UNLIMITED = sys.maxsize  # the width of a pipe
NARROW = 80  # columns; a narrower table does not show EXPIRES, because LEFT says the same
SHORTEST_NAME = 12  # columns
HEADS = ("TOKEN", "VALID", "LEFT", "EXPIRES", "NEXT MINT")
WIDEST = (5, 9, 20, 28)  # columns of each head after the first; the names have the rest
GOOD, BAD, WARN, TODO, PLAIN = "32", "1;31", "33", "1", ""  # SGR parameters (ECMA-48): colours of lines


def table(
    document: Mapping[str, Any], width: int = UNLIMITED, *, colour: bool = False, most: int = UNLIMITED
) -> str:
    """The lines of a status document: one for each token and, indented, for each output. Problems follow
    below, each with what to do. Tokens that need attention come first. `most`: how many tokens to show; the
    last line has the number of the others.

    A line takes at most `width` columns, if that is at least 60. Only a name without enough room is
    shortened. `colour`: add escape sequences for a terminal.
    """
    tokens = sorted(rows_by_token(document), key=lambda rows: URGENCY[kind_of(*rows)])
    found = [row for rows in tokens[:most] for row in rows]
    lines = [*_above(document, width), (PLAIN, ""), *_lines(found, width), *_omitted(tokens[most:], width)]
    return "\n".join(f"\x1b[{style}m{text}\x1b[0m" if colour and style else text for style, text in lines)


def _omitted(tokens: Sequence[tuple[Row, ...]], width: int) -> Iterator[tuple[str, str]]:
    if not tokens:
        return
    unwell = sum(kind_of(*rows) != "good" for rows in tokens)
    text = f"{len(tokens)} more tokens, {unwell} of them need attention: give a NAME or --limit to see others"
    yield PLAIN, ""
    yield from ((WARN if unwell else PLAIN, line) for line in wrapped(text, width))


def _above(document: Mapping[str, Any], width: int) -> Iterator[tuple[str, str]]:
    style = GOOD if document.get("valid") is True else BAD
    since = configuration_since(document)
    configuration = "" if since == UNKNOWN else f"configuration since {since}"
    facts = (source_line(document), *lease_lines(document), configuration)
    for text in filter(None, (headline(document), *facts)):
        yield from ((style, line) for line in wrapped(text, width))
        style = PLAIN
    yield from _problems(problems_of_daemon(document), WARN, "", width)


def _lines(found: list[Row], width: int) -> Iterator[tuple[str, str]]:
    cells = [(row.valid, row.left, row.expires, row.next_mint) for row in found]
    names = [f"{'  ' if row.is_output else ''}{row.name}" for row in found]
    widths = [
        min(widest, max(map(columns, column)))
        for widest, column in zip(WIDEST, zip(HEADS[1:], *cells, strict=True), strict=True)
    ]
    if width < NARROW:
        widths[2] = 0
    rest = sum(widths) + sum(2 for columns_ in widths if columns_)
    room = min(max(SHORTEST_NAME, width - rest), max(map(columns, (HEADS[0], *names))))
    widths.insert(0, room)
    yield PLAIN, _line(HEADS, widths)
    for row, name, others in zip(found, names, cells, strict=True):
        yield BAD if row.valid == "NO" else PLAIN, _line((name, *others), widths)
        indent = "      " if row.is_output else "    "
        if row.remark:
            yield from ((PLAIN, f"{indent}{line}") for line in wrapped(row.remark, width - len(indent)))
        yield from _problems(row.problems, BAD if row.valid == "NO" else WARN, indent, width)


def _problems(
    problems: Sequence[RowProblem], style: str, indent: str, width: int
) -> Iterator[tuple[str, str]]:
    for problem in advice_once(problems):
        yield from ((style, line) for line in _bullet("! ", str(problem), indent, width))
        if problem.advice:
            yield from ((TODO, line) for line in _bullet("> ", problem.advice, indent, width))


def _bullet(mark: str, text: str, indent: str, width: int) -> Iterator[str]:
    """`text` after `mark`; further lines are indented like the first."""
    for line in wrapped(text, width - len(indent) - len(mark)):
        yield f"{indent}{mark}{line}"
        mark = " " * len(mark)


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    """`cells` side by side. A column of width 0 is left out."""
    fitted = [(shortened(cell, width), width) for cell, width in zip(cells, widths, strict=True) if width]
    padded = [cell + " " * (width - columns(cell)) for cell, width in fitted]
    return "  ".join(padded).rstrip()


def columns(text: str) -> int:
    """The width of `text` in columns of a terminal."""
    return len(text) + sum(unicodedata.east_asian_width(char) in "WF" for char in text)


def shortened(text: str, room: int) -> str:
    """`text` in at most `room` columns. The middle is left out, because the end of a path says most."""
    if columns(text) <= room:
        return text
    head = _beginning(text, room // 4)
    tail = _beginning(text[::-1], room - 1 - columns(head))[::-1]
    return f"{head}…{tail}"


def wrapped(text: str, room: int) -> list[str]:
    """`text` in lines of at most `room` columns, broken between words if possible."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if columns(longer) <= room:
            lines[-1] = longer
            continue
        rest = word
        while rest:
            fits = _beginning(rest, room)
            rest = rest[len(fits) :]
            lines.append(fits)
    return lines if lines[0] else lines[1:] or [UNKNOWN]


def _beginning(text: str, room: int) -> str:
    """The longest beginning of `text` that fits in `room` columns."""
    for at, each in enumerate(text):
        room -= columns(each)
        if room < 0:
            return text[:at]
    return text
