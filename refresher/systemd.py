"""Notifies the service manager (systemd) over its socket, sd_notify(3): ready, status, watchdog, stopping."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from refresher.core.instant import Instant
from refresher.core.problems import Problem
from refresher.core.rfc3339 import to_second
from refresher.core.state import State, TokenPolicy
from refresher.core.status import TokenStatus, status_of
from refresher.ports import Clock
from refresher.status.liveness import is_alive
from refresher.workers import Mailbox

POLL = 0.2  # seconds between two checks until all outputs are valid: units ordered after ours wait for that
STATUS_EVERY = 10.0  # seconds; fresh enough for `systemctl status`, and cheap
WAITING_EVERY = 1.0  # seconds, until all outputs are valid: an operator may be watching
LONGEST_PROBLEM = 400  # characters
SEND_TIMEOUT = 1.0  # seconds for the manager to accept a message


class SystemdNotifier:
    """Notifies the manager that `environ` names. `view` and `last_turn` are the engine's.

    It is not a `ports.Observer`: it reads the engine's state every few seconds. If the manager is
    unreachable, it only logs a warning, because no token depends on it.
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
        self._has_watchdog = watchdog is not None
        self._every = min(STATUS_EVERY, watchdog / 2 if watchdog else STATUS_EVERY)  # sd_watchdog_enabled(3)
        self._view, self._last_turn, self._clock = view, last_turn, clock
        self._stop = Mailbox[str]()
        self._is_ready, self._is_reachable = False, True
        # Held during a turn: a reload that READY=1 allowed must find `_is_ready` set.
        self._turning = threading.Lock()
        self._next = clock.now().boot
        self._has_begun, self._has_ended = threading.Event(), threading.Event()

    def start(self, spawn: Callable[[Callable[[], None], str], object]) -> None:
        """Notify from now on, on a thread that `spawn` starts, such as `Workers.run`."""
        spawn(self._work, "service")

    def stopping(self) -> None:
        """Notify the manager that the process is stopping. A signal handler may call this."""
        self._stop.post("stopping")

    def reloading(self) -> None:
        """Notify the manager that a reload begins. `systemctl reload` waits for `reloaded`, if the unit has
        ``Type=notify`` (with ``ExecReload=``) or ``Type=notify-reload``. Any thread may call this."""
        with self._turning:
            is_ready = self._is_ready
        if is_ready:  # READY=1 must not come early
            # The manager compares this with the time of its own signal.
            self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """Notify the manager that the reload has ended, with or without success."""
        if self._is_ready:
            self._send("READY=1")

    def end(self) -> None:
        """Wait until the manager has the notification or does not take it. Without a thread, do not wait."""
        self.stopping()
        if self._has_begun.is_set():
            self._has_ended.wait(2 * SEND_TIMEOUT)

    def _work(self) -> None:
        self._has_begun.set()
        try:
            wait = 0.0
            while self._stop.take(wait) is None:
                wait = self.turn()
            self._send("STOPPING=1", "STATUS=stopping")
        finally:
            self._has_ended.set()

    def turn(self) -> float:
        """Send what is due now. Returns the seconds until the next turn."""
        with self._turning:
            return self._turn()

    def _turn(self) -> float:
        now = self._clock.now()
        statuses = [status_of(state, policy, now) for policy, state in self._view()]
        lines = [] if self._is_ready or not all(status.valid for status in statuses) else ["READY=1"]
        if lines or now.boot >= self._next:
            is_waiting = not (self._is_ready or lines)
            self._next = now.boot + (min(WAITING_EVERY, self._every) if is_waiting else self._every)
            lines.append(f"STATUS={summary(statuses)}")
            if self._has_watchdog and is_alive(self._last_turn(), now):
                lines.append("WATCHDOG=1")
        if lines and self._send(*lines):
            self._is_ready |= "READY=1" in lines
        return self._every if self._is_ready else min(POLL, self._every)

    def _send(self, *lines: str) -> bool:
        """Send one message. Returns whether the manager took it."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(SEND_TIMEOUT)
                sock.sendto("\n".join(lines).encode(errors="backslashreplace"), self._address)
        except OSError as error:
            if self._is_reachable:
                logging.getLogger("refresher").warning(
                    "cannot notify the service manager of the status: %s; trying again",
                    error.strerror or error,
                )
            self._is_reachable = False
        else:
            self._is_reachable = True
        return self._is_reachable


def address(text: str) -> str:
    """The address of the manager's socket: a path, or an abstract name after an @ (unix(7))."""
    return f"\0{text[1:]}" if text.startswith("@") else text


def watchdog_of(environ: Mapping[str, str], process: int) -> float | None:
    """Seconds within which the manager expects a sign of life of `process`; None if it expects none
    (sd_watchdog_enabled(3))."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    is_for_us = environ.get("WATCHDOG_PID", str(process)) == str(process)
    return int(microseconds) / 1e6 if is_for_us and microseconds.isdecimal() and int(microseconds) else None


def summary(statuses: Iterable[TokenStatus]) -> str:
    """The status in one line, without a secret."""
    statuses = list(statuses)
    ready = sum(status.valid for status in statuses)
    problems = [_sentence(status.name, problem) for status in statuses for problem in status.problems]
    parts = [f"tokens: {len(statuses)}, valid in all their outputs: {ready}"]
    if problems:
        parts.append(" ".join(problems[0].split())[:LONGEST_PROBLEM])
    if len(problems) > 1:
        parts.append(f"and {len(problems) - 1} more")
    return "; ".join(parts)


def _sentence(token: str, problem: Problem) -> str:
    """Which token has which problem, since when and how often."""
    history = f"since {to_second(problem.since)}" if problem.since is not None else ""
    times = f"{problem.failures} in a row" if problem.failures else ""
    when = ", ".join(filter(None, (history, times)))
    return f"{token}: {problem.code}{f' ({when})' if when else ''}: {problem.message}"
