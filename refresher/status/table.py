"""The status as a table for a terminal."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from refresher.status.rows import UNKNOWN, headline, lease_lines, rows

WIDTH = 100  # columns of a terminal that a table takes at most
HEADS = ("TOKEN", "VALID", "LEFT", "EXPIRES", "NEXT MINT")
WIDEST = (5, 9, 20, 28)  # columns of each head after the first; the names have the rest, at least 30


def table(document: Mapping[str, Any]) -> str:
    """The lines of a status document, at most WIDTH columns wide: one for each token and, indented, for each
    output. Problems follow below."""
    found = list(rows(document))
    cells = [(row.valid, row.left, row.expires, row.next_mint) for row in found]
    names = [f"{'  ' if row.is_output else ''}{row.name}" for row in found]
    widths = [
        min(widest, max(map(columns, column)))
        for widest, column in zip(WIDEST, zip(HEADS[1:], *cells, strict=True), strict=True)
    ]
    room = min(WIDTH - sum(widths) - 2 * len(widths), max(map(columns, (HEADS[0], *names))))
    widths.insert(0, room)
    above = (headline(document), *lease_lines(document))
    lines = [*(line for text in above for line in wrapped(text, WIDTH)), "", _line(HEADS, widths)]
    for row, name, rest in zip(found, names, cells, strict=True):
        lines.append(_line((name, *rest), widths))
        indent = "      " if row.is_output else "    "
        if row.remark:
            lines += [f"{indent}{line}" for line in wrapped(row.remark, WIDTH - len(indent))]
        for problem in row.problems:
            lines += _bullet("! ", str(problem), indent)
            if problem.advice:
                lines += _bullet("> ", problem.advice, indent)
    return "\n".join(lines)


def _bullet(mark: str, text: str, indent: str) -> Iterator[str]:
    """`text` after `mark`; further lines are indented like the first."""
    for line in wrapped(text, WIDTH - len(indent) - len(mark)):
        yield f"{indent}{mark}{line}"
        mark = " " * len(mark)


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    fitted = [shortened(cell, width) for cell, width in zip(cells, widths, strict=True)]
    padded = [cell + " " * (width - columns(cell)) for cell, width in zip(fitted, widths, strict=True)]
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
