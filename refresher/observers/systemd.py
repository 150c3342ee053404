"""Reports to the service manager (systemd) over its socket, by sd_notify(3): that every output holds a valid
token, the status, that the engine makes progress, that the process is stopping."""

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Mapping

from refresher.core.instant import Instant
from refresher.core.state import State, TokenPolicy
from refresher.core.status import TokenStatus, status_of
from refresher.observers.liveness import is_alive
from refresher.ports import Clock
from refresher.workers import Mailbox

POLL = 0.2  # seconds between two looks until all is ready: units that are ordered after us wait for that
STATUS_EVERY = 10.0  # seconds; fresh enough for `systemctl status`, and cheap
WAITING_EVERY = 1.0  # seconds, until all is ready: somebody may be watching
LONGEST_PROBLEM = 400  # characters
PATIENCE = 1.0  # seconds that the manager may take to accept a message


class SystemdNotifier:
    """Reports to the manager that `environ` names. `view` and `last_turn` are the engine's.

    If the manager cannot be reached, that is a warning: no token depends on it.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        process: int,
        view: Callable[[], Iterable[tuple[TokenPolicy, State]]],
        last_turn: Callable[[], Instant],
        clock: Clock,
    ) -> None:
        self._address = address(environ["NOTIFY_SOCKET"])
        watchdog = watchdog_of(environ, process)
        self._watched = watchdog is not None
        self._every = min(STATUS_EVERY, watchdog / 2 if watchdog else STATUS_EVERY)  # sd_watchdog_enabled(3)
        self._view, self._last_turn, self._clock = view, last_turn, clock
        self._stop = Mailbox[str]()
        self._is_ready, self._is_heard = False, True
        self._next = clock.now().boot
        self._has_begun, self._has_ended = threading.Event(), threading.Event()

    def start(self, spawn: Callable[[Callable[[], None], str], object]) -> None:
        """Notify from now on, on a thread that `spawn` starts: `Workers.run`, for one."""
        spawn(self._work, "service")

    def stopping(self) -> None:
        """Have the manager told that the end has begun. A signal handler may call this."""
        self._stop.post("the end has begun")

    def end(self) -> None:
        """Wait until the manager knows, or does not take it. Without a thread, do not wait."""
        self.stopping()
        if self._has_begun.is_set():
            self._has_ended.wait(2 * PATIENCE)

    def _work(self) -> None:
        self._has_begun.set()
        try:
            wait = 0.0
            while self._stop.take(wait) is None:
                wait = self.turn()
            self._say("STOPPING=1", "STATUS=stopping")
        finally:
            self._has_ended.set()

    def turn(self) -> float:
        """Say what there is to say now; the seconds until there may be something new."""
        now = self._clock.now()
        statuses = [status_of(state, policy, now) for policy, state in self._view()]
        lines = [] if self._is_ready or not all(each.valid for each in statuses) else ["READY=1"]
        if lines or now.boot >= self._next:
            is_waiting = not (self._is_ready or lines)
            self._next = now.boot + (min(WAITING_EVERY, self._every) if is_waiting else self._every)
            lines.append(f"STATUS={summary(statuses)}")
            if self._watched and is_alive(self._last_turn(), now):
                lines.append("WATCHDOG=1")
        if lines and self._say(*lines):
            self._is_ready |= "READY=1" in lines
        return self._every if self._is_ready else min(POLL, self._every)

    def _say(self, *lines: str) -> bool:
        """Whether the manager has taken it."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(PATIENCE)
                sock.sendto("\n".join(lines).encode(errors="backslashreplace"), self._address)
        except OSError as error:
            if self._is_heard:
                told = "the service manager cannot be told how things stand: %s; trying again"
                logging.getLogger("refresher").warning(told, error.strerror or error)
            self._is_heard = False
        else:
            self._is_heard = True
        return self._is_heard


def address(text: str) -> str:
    """The address of the manager's socket: a path, or after an @ an abstract one (unix(7))."""
    return f"\0{text[1:]}" if text.startswith("@") else text


def watchdog_of(environ: Mapping[str, str], process: int) -> float | None:
    """The seconds within which the manager wants a sign of life of `process`; None if it wants none
    (sd_watchdog_enabled(3))."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    meant = environ.get("WATCHDOG_PID", str(process)) == str(process)
    return int(microseconds) / 1e6 if meant and microseconds.isdecimal() and int(microseconds) else None


def summary(statuses: Iterable[TokenStatus]) -> str:
    """How things stand, in one line and without a secret."""
    statuses = list(statuses)
    ready = sum(each.valid for each in statuses)
    problems = [f"{each.name}: {problem}" for each in statuses for problem in each.problems]
    told = [f"tokens: {len(statuses)}, valid in all their outputs: {ready}"]
    if problems:
        told.append(" ".join(problems[0].split())[:LONGEST_PROBLEM])
    if len(problems) > 1:
        told.append(f"and {len(problems) - 1} more")
    return "; ".join(told)
