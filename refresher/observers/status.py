"""How every token and output stands: as a document, as a table, and as reasons for not being ready.

No secret is in a `TokenStatus`, so none is in any of them.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from refresher.core.disclosure import printable
from refresher.core.durations import humanized
from refresher.core.instant import Instant
from refresher.core.rfc3339 import parse, to_second
from refresher.core.state import State, TokenPolicy
from refresher.core.status import OutputStatus, TokenStatus, holds_valid_token, output_status
from refresher.observers.counters import Leadership

WIDTH = 100  # columns of a terminal that a table takes at most
UNKNOWN = "-"
HEADS = ("TOKEN", "VALID", "LEFT", "EXPIRES", "NEXT MINT")
WIDEST = (5, 9, 20, 28)  # columns for each of them; the names have what is left, 30 at least


def document(
    statuses: Iterable[TokenStatus], now: Instant, version: str, leases: Iterable[Leadership] = ()
) -> dict[str, Any]:
    """Fit for JSON. Times are RFC 3339 in UTC, durations seconds, negative for what has passed; what is not
    known is None. Without leader election there are no `leases`."""
    tokens = [_of_token(each, now) for each in statuses]
    return {
        "version": version,
        "time": to_second(now.wall),
        "valid": all(token["valid"] for token in tokens),
        "leases": [each._asdict() for each in leases],
        "tokens": tokens,
    }


def _of_token(token: TokenStatus, now: Instant) -> dict[str, Any]:
    return {
        "name": token.name,
        "valid": token.valid,
        "issued_at": _moment(token.issued),
        "expires_at": _moment(token.expires),
        "remaining_seconds": _remaining(token.expires, now),
        "lifetime_seconds": token.lifetime,
        "lifetime_shortfall_seconds": token.shortfall,
        "headroom_seconds": token.headroom,
        "next_refresh_at": _moment(token.next_refresh),
        "next_reason": token.next_reason,
        "key_fingerprint": token.key_fingerprint,
        "key_accepted": token.key_accepted,
        "token_fingerprint": token.token_fingerprint,
        "problems": list(token.problems),
        "outputs": [_of_output(output, now) for output in token.outputs],
    }


def _of_output(output: OutputStatus, now: Instant) -> dict[str, Any]:
    return {
        "name": output.name,
        "valid": output.valid,
        "issued_at": _moment(output.issued),
        "expires_at": _moment(output.expires),
        "remaining_seconds": _remaining(output.expires, now),
        "token_fingerprint": output.token_fingerprint,
        "owner": output.owner,
        "problem": output.problem,
    }


def _moment(wall: float | None) -> str | None:
    return None if wall is None else to_second(wall)


def _remaining(expires: float | None, now: Instant) -> float | None:
    return None if expires is None else round(expires - now.wall, 3)


def reasons(view: Iterable[tuple[TokenPolicy, State]], now: Instant) -> list[dict[str, str | None]]:
    """Why not every output holds a valid token: token, output and problem of each that does not; empty when
    all is well."""
    return [
        {
            "token": policy.name,
            "output": output.name,
            "problem": output_status(output, now, state.busy_since(output)).problem,
        }
        for policy, state in view
        for output in state.outputs
        if not holds_valid_token(output, now)
    ]


class Row(NamedTuple):
    """One line of a status: a token, or one of its outputs. Texts are fit for people, `UNKNOWN` where the
    document does not say."""

    name: str
    is_output: bool
    valid: str  # "yes", "NO"
    left: str
    expires: str
    next_mint: str  # empty for an output
    remark: str  # how old an output's token is, and whose the output; empty where nobody says whose
    problems: tuple[str, ...]


def rows(document: Mapping[str, Any]) -> Iterator[Row]:
    """The lines of a `document`, which may come from a daemon of another version: what it lacks, or has in
    another form, is unknown. Each token's outputs follow it."""
    time = _wall(document.get("time"))
    for token in members(document, "tokens"):
        outputs = [_output_row(output, time) for output in members(token, "outputs")]
        below = {f"{output.name}: {problem}" for output in outputs for problem in output.problems}
        problems = token.get("problems")
        told = [harmless(each) for each in problems] if isinstance(problems, list) else []
        yield Row(
            harmless(token.get("name")),
            is_output=False,
            valid=_validity(token.get("valid")),
            left=_span(token.get("remaining_seconds")),
            expires=harmless(token.get("expires_at")),
            next_mint=_next_mint(token, time),
            remark="",
            problems=tuple(each for each in told if each not in below),
        )
        yield from outputs


def _output_row(output: Mapping[str, Any], time: float | None) -> Row:
    problem = output.get("problem")
    return Row(
        harmless(output.get("name")),
        is_output=True,
        valid=_validity(output.get("valid")),
        left=_span(output.get("remaining_seconds")),
        expires=harmless(output.get("expires_at")),
        next_mint="",
        remark=_remark(output, time),
        problems=() if problem is None else (harmless(problem),),
    )


def headline(document: Mapping[str, Any]) -> str:
    """The whole status in one sentence."""
    standing = {"yes": "every output holds a valid token", "NO": "NOT EVERY OUTPUT HOLDS A VALID TOKEN"}
    says = standing.get(_validity(document.get("valid")), "it does not say whether all is well")
    return f"refresher {harmless(document.get('version'))} at {harmless(document.get('time'))}: {says}"


def standing(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Who leads, and the problem of each Lease, as lines; none without leader election."""
    return tuple(line for lease in members(document, "leases") for line in _of_lease(lease))


def _of_lease(lease: Mapping[str, Any]) -> Iterator[str]:
    leads = lease.get("leads") is True
    holder = lease.get("holder") or "nobody that is known"
    says = "leads: holds" if leads else f"stands by: {harmless(holder)} holds"
    yield f"{says} the lease {harmless(lease.get('lease'))}"
    if lease.get("problem"):
        yield f"! {harmless(lease['problem'])}"


def harmless(value: object) -> str:
    """A text with whatever steers a terminal, or is no character, made visible; UNKNOWN for anything else."""
    if not isinstance(value, str) or not value:
        return UNKNOWN
    return printable(value)


def members(of: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects in a list in a document; none where there is no such list."""
    found = of.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _validity(value: object) -> str:
    return {True: "yes", False: "NO"}[value] if isinstance(value, bool) else UNKNOWN


def _span(seconds: object) -> str:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return UNKNOWN
    return humanized(seconds) if abs(seconds) < 1e12 else UNKNOWN  # Python's JSON has NaN and Infinity


def _wall(value: object) -> float | None:
    try:
        return parse(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _next_mint(token: Mapping[str, Any], time: float | None) -> str:
    at = _wall(token.get("next_refresh_at"))
    if at is None or time is None:
        return UNKNOWN
    when = f"in {humanized(at - time)}" if at > time else "now"
    return f"{when}, {harmless(token.get('next_reason'))}"


def _remark(output: Mapping[str, Any], time: float | None) -> str:
    if not output.get("owner"):
        return ""
    issued = _wall(output.get("issued_at"))
    age = "" if issued is None or time is None else f"issued {humanized(time - issued)} ago, "
    return f"{age}belongs to {harmless(output.get('owner'))}"


def table(document: Mapping[str, Any]) -> str:
    """A `document` as lines of at most WIDTH columns: one for each token and, indented, each output, with
    what ails it below."""
    found = list(rows(document))
    cells = [(row.valid, row.left, row.expires, row.next_mint) for row in found]
    names = [f"{'  ' if row.is_output else ''}{row.name}" for row in found]
    widths = [
        min(widest, max(map(columns, column)))
        for widest, column in zip(WIDEST, zip(HEADS[1:], *cells, strict=True), strict=True)
    ]
    room = min(WIDTH - sum(widths) - 2 * len(widths), max(map(columns, (HEADS[0], *names))))
    widths.insert(0, room)
    above = (headline(document), *standing(document))
    lines = [*(line for each in above for line in wrapped(each, WIDTH)), "", _line(HEADS, widths)]
    for row, name, rest in zip(found, names, cells, strict=True):
        lines.append(_line((name, *rest), widths))
        indent = "      " if row.is_output else "    "
        if row.remark:
            lines += [f"{indent}{each}" for each in wrapped(row.remark, WIDTH - len(indent))]
        for problem in row.problems:
            first, *more = wrapped(problem, WIDTH - len(indent) - 2)
            lines += [f"{indent}! {first}", *(f"{indent}  {each}" for each in more)]
    return "\n".join(lines)


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    fitted = [shortened(cell, width) for cell, width in zip(cells, widths, strict=True)]
    padded = [cell + " " * (width - columns(cell)) for cell, width in zip(fitted, widths, strict=True)]
    return "  ".join(padded).rstrip()


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    return len(text) + sum(unicodedata.east_asian_width(each) in "WF" for each in text)


def shortened(text: str, room: int) -> str:
    """`text` in at most `room` columns. The middle is left out: of a path the end tells most."""
    if columns(text) <= room:
        return text
    head = _beginning(text, room // 4)
    tail = _beginning(text[::-1], room - 1 - columns(head))[::-1]
    return f"{head}…{tail}"


def wrapped(text: str, room: int) -> list[str]:
    """The lines of `text`, each of at most `room` columns; broken between words where that is possible."""
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
    """As much of the beginning of `text` as `room` columns hold."""
    for at, each in enumerate(text):
        room -= columns(each)
        if room < 0:
            return text[:at]
    return text
