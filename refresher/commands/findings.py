"""Findings of `refresher check` that need only one part: an output, a hook, the clock."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from refresher import exit_codes
from refresher.config.declarations import TokenSettings
from refresher.config.durations import format_duration
from refresher.core import schedule
from refresher.core.state import TokenPolicy
from refresher.errors import HookError, OutputError, OutputHeldError
from refresher.ports import Output

if TYPE_CHECKING:
    from refresher.hooks import OutputHook

TOLERATED_SKEW = 5.0  # seconds; the refresher copes with more, readers of the times it writes may not


class Finding(NamedTuple):
    """One line of the report. `code`: the exit code, 0 for success and for hints. `remedy`: text to paste to
    fix the failure; `run` prints each remedy once, after all lines."""

    subject: str
    code: int
    text: str
    is_hint: bool = False
    remedy: str = ""

    def __str__(self) -> str:
        mark = "FAIL" if self.code else "hint" if self.is_hint else "ok"
        return f"{mark:5}{self.subject}: {self.text}"


def of_clock(skew: float) -> Finding:
    if abs(skew) < 1.0:
        return Finding("clock", 0, "within a second of the issuer's")
    ahead = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the issuer's"
    if abs(skew) <= TOLERATED_SKEW:
        return Finding("clock", 0, ahead)
    return Finding("clock", 0, f"{ahead}; check time synchronisation (chrony, ntpd)", is_hint=True)


def of_output(output: Output) -> Iterator[Finding]:
    try:
        caveats = output.dry_run()
    except OutputHeldError as error:  # most likely by the daemon; otherwise it can be written
        yield Finding("output", 0, f"{output.name} {error}", is_hint=True)
    except OutputError as error:
        yield Finding("output", exit_codes.CANT_CREATE, f"{output.name} {error}")
    else:
        yield Finding("output", 0, f"{output.name} can be written")
        for caveat in caveats:
            yield Finding("output", 0, f"{output.name}: {caveat}", is_hint=True)


def of_headroom(policy: TokenPolicy) -> Finding:
    headroom = policy.headroom
    due = schedule.latest_due_age(policy.lifetime, policy.refresh_at, policy.propagation_delay)
    consumers = "do not notice a shorter outage" if headroom else "may notice every outage"
    return Finding(
        f"token {policy.name}",
        0,
        f"lives {format_duration(policy.lifetime)}, is replaced after {format_duration(round(due))} at the "
        f"latest; headroom {format_duration(round(headroom))}: consumers {consumers} of the issuer",
        is_hint=not headroom,
    )


def of_hook(hook: "OutputHook", *, offline: bool) -> Finding:
    try:
        would = hook.check(offline=offline)
    except HookError as error:
        return Finding("hook", exit_codes.CANT_CREATE, f"of {hook.output}: {error}")
    return Finding("hook", 0, f"of {hook.output}: {would}")


def of_exclusive(url: str) -> Finding:
    text = f"{url} was not asked for a token, which would end the one in use (exclusive); --mint does it"
    return Finding("issuer", 0, text, is_hint=True)


def of_ended(url: str) -> Finding:
    text = f"the token in use has ended at {url} (exclusive); publish a new one now: refresher refresh"
    return Finding("issuer", 0, text, is_hint=True)


def of_single_process(tokens: Iterable[TokenSettings]) -> Iterator[Finding]:
    """Hints about tokens in Secrets, which several processes without a Lease may write."""
    for token in tokens:
        text = (
            "its issuer is exclusive, so only one process may mint: run one replica, or set leader_election"
        )
        yield Finding(f"token {token.name}", 0, text, is_hint=True)
