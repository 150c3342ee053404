"""When ten thousand tokens and more are minted: after a start, a lifetime later, after an outage of an hour.

Time is virtual. The rules are the program's own: `core.schedule` decides when a token is due, `core.backoff`
how long a failed mint waits. Two resources are modelled: the mints at once, and one core for all other work,
because one Python process computes on one core at a time.
"""

import hashlib
import heapq
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from refresher.core import backoff, schedule
from refresher.core.model import Declined, Outcome
from refresher.executor import MINTS_AT_ONCE
from tests.bench import picture

LIFETIME, REFRESH_AT, TIMEOUT = 3600.0, 0.70, 10.0
LATENCY = 0.05  # seconds for a response of the issuer
MINT_CPU = 0.005  # seconds of a core for a mint with its write and log lines (ONLY=first)
REST_CPU = 0.037 / 10_000  # of a core, for comparing and inspecting one output (ONLY=growth)
OUTAGE = 2 * LIFETIME, 3 * LIFETIME  # seconds after the start
END = 6 * LIFETIME
MINUTE = 60.0
COUNTS = (10_000, 25_000, 100_000)


class Course(NamedTuple):
    """What happened. `mints`: when each token was minted. `lateness`: seconds, of every renewal that met no
    outage. `expired`: the tokens that the outage outlasted."""

    mints: list[float]
    lateness: list[float]
    expired: int


class _Issuer:
    """`MINTS_AT_ONCE` requests at once, and one core with what the outputs at rest leave of it."""

    def __init__(self, rest: float) -> None:
        self._free = [0.0] * MINTS_AT_ONCE
        self._core = 0.0
        self._cost = MINT_CPU / (1 - rest)

    def answered(self, asked: float) -> float:
        """When a mint that is due at `asked` has ended."""
        began = max(asked, heapq.heappop(self._free))
        self._core = max(self._core, began) + self._cost
        ended = max(self._core, began + LATENCY)
        heapq.heappush(self._free, ended)
        return ended


def course(tokens: int, seed: int = 1) -> Course:
    """`tokens` tokens from a start without any, over six lifetimes."""
    dice = random.Random(seed)
    issuer = _Issuer(rest_of(tokens))
    due = [(0.0, token, 0) for token in range(tokens)]  # when, which, failures in a row
    expiry = [0.0] * tokens
    is_late: list[bool] = [True] * tokens  # the first token has no due time, and an outage is no lateness
    mints: list[float] = []
    lateness: list[float] = []
    expired: set[int] = set()
    while due and due[0][0] < END:
        at, token, failures = heapq.heappop(due)
        ended = issuer.answered(at)
        if OUTAGE[0] <= ended < OUTAGE[1]:
            left = max(0.0, expiry[token] - ended)
            declined = Declined(Outcome.SERVER_ERROR, "500")
            wait = backoff.wait_after(declined, failures + 1, left, TIMEOUT, dice.random())
            is_late[token] = True
            heapq.heappush(due, (ended + wait, token, failures + 1))
            continue
        mints.append(ended)
        if not is_late[token]:
            lateness.append(ended - at)
        if 0 < expiry[token] < ended:
            expired.add(token)
        is_late[token], expiry[token] = False, ended - LATENCY + LIFETIME
        heapq.heappush(due, (ended - LATENCY + _due_age(token, len(mints)), token, 0))
    return Course(mints, lateness, len(expired))


def rest_of(tokens: int) -> float:
    """The share of a core that comparing and inspecting the outputs takes."""
    return tokens * REST_CPU


def most_tokens() -> int:
    """The number of tokens that fill one core."""
    period = LIFETIME * (REFRESH_AT - schedule.JITTER / 2)
    return int(1 / (REST_CPU + MINT_CPU / period))


def _due_age(token: int, serial: int) -> float:
    fingerprint = hashlib.sha256(f"{token} {serial}".encode()).hexdigest()[:16]
    return schedule.due_age(LIFETIME, REFRESH_AT, 0.0, schedule.jitter_of(fingerprint))


def per_minute(mints: list[float], begin: float, end: float) -> list[int]:
    counts = [0] * int((end - begin) / MINUTE)
    for at in mints:
        if begin <= at < end:
            counts[int((at - begin) / MINUTE)] += 1
    return counts


def measured(report: Callable[[str, str, str], None], image: Path) -> None:
    """Report the courses, and draw that of 10,000 tokens."""
    for tokens in COUNTS:
        count = f"{tokens:,} tokens, simulated"
        rest = rest_of(tokens)
        report(f"{count}: outputs at rest, share of a core", f"{rest:.0%}", "less than 100 %")
        if rest >= 1:
            continue
        seen = course(tokens)
        report("the same: start to all minted", f"{sorted(seen.mints)[tokens - 1]:.0f} s", "")
        p99 = statistics.quantiles(seen.lateness, n=100)[-1]
        report("the same: lateness of a renewal, p99", f"{p99:.2f} s", "less than 1 s for 10,000")
        renewals = max(per_minute(seen.mints, LIFETIME / 2, OUTAGE[0])) / MINUTE
        report("the same: most renewals a second, before the outage", f"{renewals:.0f} /s", "")
        again = max(per_minute(seen.mints, OUTAGE[1] + LIFETIME / 2, END)) / MINUTE
        report("the same: most renewals a second, a lifetime after it", f"{again:.0f} /s", "")
        if tokens == COUNTS[0]:
            before = per_minute(seen.mints, 0, OUTAGE[0])
            after = per_minute(seen.mints, OUTAGE[1], END)
            titles = "mints a minute from the start on", "mints a minute after an outage of an hour"
            panels = [picture.histogram(*pair) for pair in zip(titles, (before, after), strict=True)]
            picture.save(image, panels)
    report("tokens that fill one core", f"{most_tokens():,}", "")
