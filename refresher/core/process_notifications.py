"""The notifications for observers about the whole process: its Lease, configuration, threads and bugs."""

from typing import NamedTuple

from refresher.core.values import distinct


@distinct
class LeaderChanged(NamedTuple):
    """This process leads from now on, or another one: `holder`, empty if unknown. `failing`: the Lease still
    cannot be read or written. Otherwise, an earlier failure is over."""

    lease: str
    leads: bool
    holder: str
    failing: bool = False


@distinct
class LeaseFailed(NamedTuple):
    """The Lease could not be read or written. `leads`: this process still leads."""

    lease: str
    message: str
    leads: bool


@distinct
class ThreadsRefused(NamedTuple):
    """The system refuses new threads. `message`: why, and what waits for a thread."""

    message: str


@distinct
class ConfigurationApplied(NamedTuple):
    """A changed configuration is in use. `added`, `changed`, `removed`: how many tokens. `ignored`:
    changed settings that need a restart."""

    added: int
    changed: int
    removed: int
    ignored: tuple[str, ...] = ()


@distinct
class ConfigurationRefused(NamedTuple):
    """A changed configuration has problems. The present one stays in use."""

    problems: tuple[str, ...]


@distinct
class Crashed(NamedTuple):
    """An internal error (a bug) while doing `what`. The loop continues."""

    what: str
    error: Exception


@distinct
class RequestIgnored(NamedTuple):
    """A request, such as a signal, that this process does not carry out."""

    message: str


ProcessNotification = (
    LeaderChanged
    | LeaseFailed
    | ThreadsRefused
    | ConfigurationApplied
    | ConfigurationRefused
    | Crashed
    | RequestIgnored
)
