"""What people see of a status document: a headline, the configuration, a line for each Lease, a row for each
token and output.

The document may come from a daemon of another version: fields that are missing or misformed are UNKNOWN.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

from refresher.core.disclosure import printable
from refresher.core.durations import humanized
from refresher.core.rfc3339 import parse, to_second

UNKNOWN = "-"
LARGEST_COUNT = 10**9  # more failures in a row than any daemon has


Kind = Literal["good", "late", "bad", "unknown"]
# What needs attention first: a smaller number comes first.
URGENCY: Mapping[Kind, int] = {"unknown": 0, "bad": 1, "late": 2, "good": 3}


class RowProblem(NamedTuple):
    """A problem of a row. All texts are printable. `history`: for how long, since when and how often, such as
    ``for 5m (since 2026-11-28T03:10:00Z, 6 in a row)``; empty if unknown. `advice`: empty if unknown."""

    code: str
    message: str
    history: str
    advice: str

    def __str__(self) -> str:
        return f"{self.code}{' ' if self.history else ''}{self.history}: {self.message}"


class Row(NamedTuple):
    """A token, or one of its outputs. All texts are printable."""

    name: str
    is_output: bool
    valid: str  # "yes", "NO" or UNKNOWN
    left: str
    expires: str
    due: str  # of a token: how long ago or in how long, and the time; empty if unknown
    next_mint: str  # of a token
    remark: str  # of a token: when it was due; of an output: the age of its token and its owner. May be empty
    problems: tuple[RowProblem, ...]


def rows(document: Mapping[str, Any]) -> Iterator[Row]:
    """A row for each token, followed by the rows of its outputs."""
    return chain.from_iterable(rows_by_token(document))


def rows_by_token(document: Mapping[str, Any]) -> Iterator[tuple[Row, ...]]:
    """For each token its row, then the rows of its outputs."""
    time = wall(document.get("time"))
    for token in objects(document, "tokens"):
        outputs = [_output_row(output, time) for output in objects(token, "outputs")]
        below = {f"{output.name}: {problem.message}" for output in outputs for problem in output.problems}
        problems = [_problem(problem, time) for problem in objects(token, "problems")]
        due, is_overdue = _due(token, time)
        row = Row(
            shown(token.get("name")),
            is_output=False,
            valid=_validity(token.get("valid")),
            left=_span(token.get("remaining_seconds")),
            expires=shown(token.get("expires_at")),
            due=due,
            next_mint=_next_mint(token, time),
            remark=f"due {due}" if is_overdue else "",
            problems=tuple(problem for problem in problems if problem.message not in below),
        )
        yield (row, *outputs)


def kind_of(row: Row, *outputs: Row) -> Kind:
    """``good``: all is well. ``late``: valid, but something fails, perhaps at an output. ``bad``: not
    valid."""
    if row.valid == UNKNOWN:
        return "unknown"
    if row.valid == "NO":
        return "bad"
    return "late" if any(each.problems for each in (row, *outputs)) else "good"


def _output_row(output: Mapping[str, Any], time: float | None) -> Row:
    problem = output.get("problem")
    return Row(
        shown(output.get("name")),
        is_output=True,
        valid=_validity(output.get("valid")),
        left=_span(output.get("remaining_seconds")),
        expires=shown(output.get("expires_at")),
        due="",
        next_mint="",
        remark=_remark(output, time),
        problems=(
            *(() if problem is None else (_problem(problem, time),)),
            *_hook_problems(output, time),
        ),
    )


def _hook_problems(output: Mapping[str, Any], time: float | None) -> Iterator[RowProblem]:
    """Without a problem, a hook that is owed is about to run."""
    hook = output.get("hook")
    if isinstance(hook, Mapping):
        if hook.get("problem"):
            problem = _problem(hook["problem"], time)
            yield problem._replace(message=f"hook: {problem.message}")
        elif hook.get("owed") is True:
            yield RowProblem("hook_owed", "hook: not run yet", "", "")


def _problem(problem: object, time: float | None) -> RowProblem:
    if not isinstance(problem, Mapping):
        return RowProblem(UNKNOWN, shown(problem), "", "")
    advice = shown(problem.get("advice"))
    return RowProblem(
        code=shown(problem.get("code")),
        message=shown(problem.get("message")),
        history=_history(problem, time),
        advice="" if advice == UNKNOWN else advice,
    )


def _history(problem: Mapping[str, Any], time: float | None) -> str:
    since, count = wall(problem.get("since")), problem.get("count")
    times = ""
    if isinstance(count, int) and 0 < count < LARGEST_COUNT:
        times = "once" if count == 1 else f"{count} in a row"
    if since is None or time is None:
        return f"({times})" if times else ""
    when = ", ".join(filter(None, (f"since {to_second(since)}", times)))
    return f"for {humanized(max(0.0, time - since))} ({when})"


def headline(document: Mapping[str, Any]) -> str:
    """The whole status in one sentence."""
    summaries = {"yes": "every output holds a valid token", "NO": "NOT EVERY OUTPUT HOLDS A VALID TOKEN"}
    summary = summaries.get(_validity(document.get("valid")), "whether all outputs are valid is unknown")
    place = f" on {shown(document['host'])}" if document.get("host") else ""
    return f"refresher {shown(document.get('version'))}{place} at {shown(document.get('time'))}: {summary}"


def source_line(document: Mapping[str, Any]) -> str:
    """Which daemon gave the status, or why it was read from the outputs; empty if unknown."""
    detail = document.get("source_detail")
    return shown(detail) if detail else ""


def configuration_since(document: Mapping[str, Any]) -> str:
    """When the configuration in use was read from its file; UNKNOWN without a file."""
    return shown(_configuration(document).get("loaded_at"))


def _configuration(document: Mapping[str, Any]) -> Mapping[str, Any]:
    found = document.get("config")
    return found if isinstance(found, Mapping) else {}


def advice_once(problems: Sequence[RowProblem]) -> Iterator[RowProblem]:
    """The problems. An advice that several in a row share stays with the last of them."""
    for at, problem in enumerate(problems):
        is_shared = any(following.advice == problem.advice for following in problems[at + 1 : at + 2])
        yield problem._replace(advice="") if is_shared else problem


def lease_lines(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Who leads by each Lease. Empty without leader election."""
    return tuple(map(_of_lease, objects(document, "leases")))


def _of_lease(lease: Mapping[str, Any]) -> str:
    name, holder = f"the lease {shown(lease.get('lease'))}", lease.get("holder")
    if lease.get("leads") is True:
        return f"leader: this process holds {name}"
    if not holder:
        return f"standby: no process is known to hold {name}"
    if lease.get("problem"):
        return f"standby: {shown(holder)} held {name} when it was last read"
    return f"standby: {shown(holder)} holds {name}"


def problems_of_daemon(document: Mapping[str, Any]) -> tuple[RowProblem, ...]:
    """The problems of the Leases, and why the present content of the configuration file is refused."""
    time = wall(document.get("time"))
    found = [lease.get("problem") for lease in objects(document, "leases")]
    found += objects(_configuration(document), "problems")
    return tuple(_problem(problem, time) for problem in found if problem)


def shown(value: object) -> str:
    """`value` with control characters and invalid characters escaped; UNKNOWN if it is no text."""
    return printable(value) if isinstance(value, str) and value else UNKNOWN


def objects(of: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects in the list `name`; empty without such a list."""
    found = of.get(name)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def _validity(value: object) -> str:
    return {True: "yes", False: "NO"}[value] if isinstance(value, bool) else UNKNOWN


def number(value: object) -> float | None:
    """`value` if it is a number of a reasonable size. Python's JSON has NaN and Infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 1e12 else None


def _span(seconds: object) -> str:
    known = number(seconds)
    return UNKNOWN if known is None else humanized(known)


def wall(value: object) -> float | None:
    """An RFC 3339 time as seconds since the epoch; None if it is not one."""
    try:
        return parse(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _next_mint(token: Mapping[str, Any], time: float | None) -> str:
    at = wall(token.get("next_refresh_at"))
    if at is None or time is None:
        return UNKNOWN
    when = f"in {humanized(at - time)}" if at > time else "now"
    return f"{when}, {shown(token.get('next_reason'))}"


def _due(token: Mapping[str, Any], time: float | None) -> tuple[str, bool]:
    """When the token is or was due, and whether that is in the past."""
    due = wall(token.get("refresh_due_at"))
    if due is None or time is None:
        return "", False
    when = f"in {humanized(due - time)}" if due > time else f"{humanized(time - due)} ago"
    return f"{when}, {to_second(due)}", due < time


def _remark(output: Mapping[str, Any], time: float | None) -> str:
    if not output.get("owner"):
        return ""
    issued = wall(output.get("issued_at"))
    age = "" if issued is None or time is None else f"issued {humanized(time - issued)} ago, "
    return f"{age}belongs to {shown(output.get('owner'))}"
