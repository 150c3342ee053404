"""The verdict of a monitoring plugin (Nagios, Icinga) on a status document.

https://nagios-plugins.org/doc/guidelines.html: the exit code is the state, the first line is the summary.
"""

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from refresher.core.durations import humanized
from refresher.status.rows import Row, RowProblem, number, objects, problems_of_daemon, rows_by_token, shown


class Level(IntEnum):
    """The states of a plugin, as exit codes."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Verdict(NamedTuple):
    """`summary`: one line."""

    level: Level
    summary: str


def line(level: Level, text: str) -> str:
    """The first line of a plugin. What follows a ``|`` would be taken for performance data."""
    return f"{level.name} - {' '.join(text.split()).replace('|', '/')}"


def verdict(document: Mapping[str, Any]) -> Verdict:
    """CRITICAL: an output holds no valid token, or less than half of its token's headroom is left. WARNING:
    consumers are served, but something fails or a refresh is late.

    The headroom is the longest outage that consumers do not notice, counted from when the token is due.
    """
    findings = sorted(_findings(document), key=lambda finding: -finding.level)
    if findings:
        first, *more = findings
        text = f"{first.summary}{f'; and {len(more)} more' if more else ''}"
        return Verdict(first.level, line(first.level, text))
    tokens = objects(document, "tokens")
    left = [left for token in tokens for left in _left(token)]
    text = f"tokens: {len(tokens)}, all outputs hold a valid token"
    if left:
        text += f"; the first expires in {humanized(min(left))}"
    return Verdict(Level.OK, line(Level.OK, text))


def _findings(document: Mapping[str, Any]) -> Iterator[Verdict]:
    tokens = objects(document, "tokens")
    if not tokens or not isinstance(document.get("valid"), bool):
        yield Verdict(Level.UNKNOWN, "the status names no token")
    for token, (row, *outputs) in zip(tokens, rows_by_token(document), strict=True):
        yield from _of_token(token, row, outputs)
    for problem in problems_of_daemon(document):
        yield Verdict(Level.WARNING, _sentence(problem))
    if document.get("is_fallback") is True:
        yield Verdict(Level.WARNING, shown(document.get("source_detail")))


def _of_token(token: Mapping[str, Any], row: Row, outputs: list[Row]) -> Iterator[Verdict]:
    problems = [
        f"{f'{each.name}: ' if each.is_output else ''}{_sentence(problem)}"
        for each in (row, *outputs)
        for problem in each.problems
    ]
    why = f": {problems[0]}" if problems else ""
    for output in outputs:
        if output.valid != "yes":
            yield Verdict(Level.CRITICAL, f"{row.name}: {output.name} holds no valid token{why}")
    headroom = _headroom(token)
    left = min((left for left in _left(token) if left > 0), default=headroom)
    if left < headroom:
        level = Level.CRITICAL if left < headroom / 2 else Level.WARNING
        yield Verdict(level, f"{row.name}: the refresh is late, the token expires in {humanized(left)}{why}")
    yield from (Verdict(Level.WARNING, f"{row.name}: {problem}") for problem in problems)


def _sentence(problem: RowProblem) -> str:
    return f"{problem}; {problem.advice}" if problem.advice else str(problem)


def _headroom(token: Mapping[str, Any]) -> float:
    """The headroom of the token. Tokens that live shorter than requested have less."""
    headroom, lifetime = number(token.get("headroom_seconds")), number(token.get("lifetime_seconds"))
    shortfall = number(token.get("lifetime_shortfall_seconds")) or 0.0
    if headroom is None or not lifetime or lifetime <= 0:
        return 0.0
    return headroom * max(0.0, 1 - shortfall / lifetime)


def _left(token: Mapping[str, Any]) -> Iterator[float]:
    for output in objects(token, "outputs"):
        left = number(output.get("remaining_seconds"))
        if left is not None:
            yield left
