"""Hooks: what runs after a write, so that a consumer reads the new token. Adapters of `ports.Hook`."""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

from refresher.config.hooks import ExecHook, HookSettings, HttpHook, SignalHook
from refresher.core.hooks import RUN_TIMEOUT
from refresher.errors import HookError

_MARK = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_log = logging.getLogger("refresher")


class Subject(NamedTuple):
    """The names of the token and the output that a hook is about."""

    token: str
    output: str


class Action(Protocol):
    """What a hook does."""

    def check(self, *, offline: bool) -> str:
        """Whether a run would succeed, as far as possible without one. Returns a sentence about what it would
        do. Raises HookError."""

    def run(self, seconds: float) -> str:
        """Do it, within `seconds`. Returns a sentence about what was done. Raises HookError."""

    def stop(self) -> None:
        """See `ports.Hook`."""


def build(
    settings: HookSettings, subject: Subject, mark: str | None, redact: Callable[[str], str]
) -> "OutputHook":
    """The hook with these `settings`. `mark`: see `OutputHook`. `redact`: removes secrets from a text.

    Raises HookError if it could never run, because its command does not exist."""
    return OutputHook(subject, _action(settings, subject, redact), mark)


def _action(settings: HookSettings, subject: Subject, redact: Callable[[str], str]) -> Action:
    match settings:
        case SignalHook(target):
            from refresher.hooks.signal import Signal  # noqa: PLC0415 -- only the kinds in use

            return Signal(target)
        case ExecHook(arguments):
            from refresher.hooks.command import Command  # noqa: PLC0415

            return Command(arguments, subject, redact)
        case HttpHook(url):
            from refresher.hooks.http import Request  # noqa: PLC0415

            return Request(url, subject)


class OutputHook:
    """`ports.Hook`. `mark`: the path of a file that exists while the hook is owed, so that the next process
    knows; None if there is no place for it."""

    def __init__(self, subject: Subject, action: Action, mark: str | None) -> None:
        self.output = subject.output
        self.lane = f"hook:{subject.output}"
        self._action, self._mark = action, mark
        self._owed = 0  # how often `owe` was called
        self._mutex = threading.Lock()

    def check(self, *, offline: bool) -> str:
        """See `Action`."""
        return self._action.check(offline=offline)

    def owe(self) -> None:
        """See `ports.Hook`."""
        if self._mark is None:
            return
        with self._mutex:
            self._owed += 1
            try:
                os.close(os.open(self._mark, _MARK, 0o600))
            except OSError as error:
                self._warn(f"cannot be made: {error.strerror}; a restart may forget to run the hook")

    def is_owed(self) -> bool:
        """See `ports.Hook`. Another user may leave a file in a shared directory: it does not count."""
        with suppress(OSError):
            return self._mark is not None and os.lstat(self._mark).st_uid == os.geteuid()
        return False

    def run(self) -> str:
        """See `ports.Hook`."""
        owed = self._owed
        did = self._action.run(RUN_TIMEOUT)
        with self._mutex:
            if self._mark is not None and owed == self._owed:  # no write has begun since
                try:
                    os.unlink(self._mark)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    self._warn(f"cannot be removed: {error.strerror}; a restart will run the hook again")
        return did

    def stop(self) -> None:
        """See `ports.Hook`."""
        self._action.stop()

    def _warn(self, problem: str) -> None:
        _log.warning("%s: the mark of its hook, %s, %s", self.output, self._mark, problem)


def check_runs_again(is_stopped: bool) -> None:  # noqa: FBT001
    """Raises HookError if the hook was stopped."""
    if is_stopped:
        raise HookError("not run: the refresher stops, or its configuration has changed")
