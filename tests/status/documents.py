"""Status documents of daemons in several states, and of daemons of other versions."""

from typing import Any

from hypothesis import strategies as st

from refresher.core.events import MintFailed, WriteFailed
from refresher.core.process_notifications import ConfigurationRefused
from refresher.core.state import OutputPolicy
from refresher.core.status import ConfigurationStatus, LeaseStatus, status_of
from refresher.status.document import DAEMON, Origin, status_document
from tests.core.builders import KEY, KEY_REFUSED, NOW
from tests.observed import Daemon

FILE = "file:/var/run/inlive/access-token"
ONE = (OutputPolicy(FILE, 0.0, False),)


def document(daemon: Daemon, *leases: LeaseStatus) -> dict[str, Any]:
    now = daemon.clock.now()
    statuses = [status_of(state, policy, now) for policy, state in daemon.view()]
    origin = Origin(DAEMON, "1.2.3", "host-1", started=NOW)
    return status_document(statuses, now, origin, leases, daemon.counters.configuration)


def refuse(daemon: Daemon, *mistakes: str) -> None:
    """The daemon reads its configuration file again and finds mistakes."""
    now = daemon.clock.now()
    daemon.counters.configuration = daemon.counters.configuration or ConfigurationStatus(NOW.wall)
    daemon.counters.on_notification("", ConfigurationRefused(mistakes), now)


def in_trouble() -> Daemon:
    """The key was refused at the start, and one of two outputs cannot be written."""
    daemon = Daemon("studio", outputs=(*ONE, OutputPolicy("file:/full/token", 0.0, False)))
    daemon.begin("studio")
    daemon.observe("studio", MintFailed(KEY, KEY_REFUSED, roll=1.0))
    daemon.observe(
        "studio", WriteFailed("file:/full/token", "cannot write /full/token: no space left", roll=1.0)
    )
    return daemon


def elapse(daemon: Daemon, seconds: float) -> None:
    """Let time pass, and perform what is due then, except mints: these begin."""
    daemon.clock.time += seconds
    for driver in daemon.tokens.values():
        driver.passes(seconds)
        driver.perform(driver.steps())


WORDS = st.text(max_size=150) | st.text("/深いé\u0301 x\n\x1b", max_size=150)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
TIMES = st.just("2027-01-15T08:00:00Z") | st.just("0001-01-01T00:00:00+23:59") | ANYTHING

PROBLEMS = st.fixed_dictionaries(
    {},
    optional={
        "code": WORDS | ANYTHING,
        "message": WORDS | ANYTHING,
        "since": TIMES,
        "count": st.integers() | ANYTHING,
        "advice": WORDS | ANYTHING,
    },
)
HOOKS = st.fixed_dictionaries({}, optional={"owed": ANYTHING, "problem": PROBLEMS | ANYTHING})


CONFIGURATIONS = st.fixed_dictionaries(
    {}, optional={"loaded_at": TIMES, "problems": st.lists(PROBLEMS | ANYTHING, max_size=3) | ANYTHING}
)


def foreign_documents() -> st.SearchStrategy[dict[str, Any]]:
    """Documents with our field names and arbitrary values."""
    common = {"name": WORDS | ANYTHING, "valid": st.booleans() | ANYTHING, "expires_at": TIMES}
    common |= {"remaining_seconds": st.floats() | st.integers() | ANYTHING, "issued_at": TIMES}
    outputs = st.fixed_dictionaries(
        {}, optional=common | {"problem": PROBLEMS | ANYTHING, "hook": HOOKS | ANYTHING}
    )
    token_fields = common | {
        "next_refresh_at": TIMES,
        "refresh_due_at": TIMES,
        "key_fingerprint": WORDS | ANYTHING,
        "key_accepted": ANYTHING,
        "next_reason": WORDS | ANYTHING,
        "problems": st.lists(PROBLEMS | ANYTHING, max_size=3) | ANYTHING,
        "outputs": st.lists(outputs | ANYTHING, max_size=3) | ANYTHING,
    }
    tokens = st.fixed_dictionaries({}, optional=token_fields)
    fields = {
        "tokens": st.lists(tokens | ANYTHING, max_size=3) | ANYTHING,
        "time": TIMES,
        "version": ANYTHING,
        "host": ANYTHING,
        "config": CONFIGURATIONS | ANYTHING,
    }
    return st.fixed_dictionaries({}, optional=fields | {"valid": ANYTHING})
