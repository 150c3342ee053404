"""Reads a fault from JSON or keyword arguments: its fields, their accepted values, their conflicts."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from refresher.errors import ConfigurationError, Problem

_LONGEST = 1e6  # seconds, eleven days; threads cannot wait for ever
_FARTHEST = 1e9  # seconds; keeps every resulting date within the years that can be written
_OF_THE_MINT = {"same_token", "lifetime"}


class _NotAcceptedError(ValueError):
    """A value is not accepted. The message lists the accepted values."""


def read(settings: Mapping[str, object]) -> dict[str, Any]:
    """The arguments of `Fault` from `settings`. Raises ConfigurationError with every problem."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, given in settings.items():
        if name not in _FIELDS:
            problems.append(Problem(str(name), _unknown(str(name))))
        elif given is not None:
            try:
                values[name] = _FIELDS[name](given)
            except _NotAcceptedError as error:
                shown = "this" if name == "body" else _shown(given)  # a body may hold a token
                problems.append(Problem(name, f"{shown} is not accepted; accepted: {error}"))
    problems = problems or list(_clashes(values))
    if problems:
        raise ConfigurationError(tuple(problems))
    return values


def _unknown(name: str) -> str:
    import difflib  # noqa: PLC0415 (only a problem needs it)

    close = difflib.get_close_matches(name, _FIELDS, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"no such fault; {hint}accepted: {', '.join(sorted(_FIELDS))}"


def _shown(given: object) -> str:
    text = repr(given)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _clashes(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Settings that do not combine. A fault without effect would look like a passed test."""
    in_force = {name for name, value in values.items() if value is not False}
    answers = sorted(in_force & {"hang", "reset", "redirect", "garbage", "body", "endless"})
    if len(answers) > 1:
        yield Problem(
            answers[0], f"does not combine with {' and '.join(answers[1:])}: each is a whole answer"
        )
    if "redirect" in in_force and not 300 <= values.get("status", 307) <= 399:
        yield Problem("redirect", f"does not combine with status {values['status']}; accepted: 300 to 399")
    if values.get("scope") == "product" and in_force & _OF_THE_MINT:
        yield Problem(
            "scope", f"'product' does not combine with {' and '.join(sorted(in_force & _OF_THE_MINT))}"
        )
    for name, needed in (("retry_after", "status"), ("drip_head", "drip")):
        if name in in_force and needed not in in_force:
            yield Problem(name, f"needs {needed} too")
    for first, others, why in (
        (
            {"hang", "reset"},
            set(_FIELDS) - {"hang", "reset", "scope", "count", "latency"},
            "nothing is sent",
        ),
        (_OF_THE_MINT, {*answers, "status"}, "no token is issued"),
        ({"endless"}, {"cut_body"}, "an endless body is never cut"),
    ):
        for name in sorted(in_force & first):
            for conflicting in sorted(in_force & others):
                yield Problem(name, f"does not combine with {conflicting}: {why}")


def _choice(*accepted: str) -> Callable[[object], str]:
    def check(given: object) -> str:
        if not isinstance(given, str) or given not in accepted:
            raise _NotAcceptedError(", ".join(accepted))
        return given

    return check


def _number(lowest: float, highest: float, unit: str) -> Callable[[object], float]:
    def check(given: object) -> float:
        if isinstance(given, (int, float)) and not isinstance(given, bool) and lowest <= given <= highest:
            return float(given)  # NaN fails the comparisons above
        raise _NotAcceptedError(f"{unit}, {lowest:g} to {highest:g}")

    return check


def _whole(lowest: int, highest: int) -> Callable[[object], int]:
    def check(given: object) -> int:
        if not isinstance(given, int) or isinstance(given, bool) or not lowest <= given <= highest:
            raise _NotAcceptedError(f"a whole number, {lowest} to {highest}")
        return given

    return check


def _flag(given: object) -> bool:
    if not isinstance(given, bool):
        raise _NotAcceptedError("true, false")
    return given


def _header(given: object) -> str:
    text = str(given) if isinstance(given, int) and not isinstance(given, bool) else given
    if not isinstance(text, str) or not text.isascii() or not text.isprintable():
        raise _NotAcceptedError("printable ASCII characters: it is sent as a header")
    return text


def _body(given: object) -> bytes:
    if isinstance(given, bytes):
        return given
    try:
        return (given if isinstance(given, str) else json.dumps(given)).encode()
    except (TypeError, ValueError, RecursionError) as error:  # ValueError: also a lone surrogate
        raise _NotAcceptedError("text, bytes, or a value that JSON can represent") from error


_FIELDS: dict[str, Callable[[object], object]] = {
    "scope": _choice("mint", "product", "all"),
    "count": _whole(1, 10**9),
    "latency": _number(0, _LONGEST, "seconds"),
    "status": _whole(100, 599),
    "retry_after": _header,
    "body": _body,
    "garbage": _flag,
    "redirect": _header,
    "endless": _choice("chunked", "close"),
    "reset": _flag,
    "hang": _flag,
    "same_token": _flag,
    "lifetime": _number(0, _FARTHEST, "seconds"),
    "content_type": _header,
    "drip": _number(0, _LONGEST, "seconds"),
    "drip_head": _flag,
    "cut_body": _flag,
    "clock_offset": _number(-_FARTHEST, _FARTHEST, "seconds"),
}
