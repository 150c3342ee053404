"""Follows the configuration of a running daemon: reads it again on SIGHUP, and when its file changes.

The new configuration is proved first: it is loaded, and all adapters of its tokens are built. Then the engine
gets the new set of tokens. A configuration with mistakes changes nothing. Flags and variables stay as they
were at the start.
"""

import hashlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from refresher import wiring
from refresher.assembly import has_secrets
from refresher.config.declarations import Settings
from refresher.config.files import content_of
from refresher.config.loader import Loaded
from refresher.config.output_kinds import kind_of
from refresher.config.source_map import MalformedError
from refresher.core.notifications import Notification
from refresher.core.process_notifications import ConfigurationApplied, ConfigurationRefused, Crashed
from refresher.errors import ConfigurationError, Problem, RefresherError
from refresher.ports import ManagedToken, Message
from refresher.workers import Mailbox

if TYPE_CHECKING:
    from refresher.systemd import SystemdNotifier

PERIOD = 2.0  # seconds between two polls, as for keys
NEEDS_RESTART = ("listen", "serve", "leader_election")  # settings that a running process cannot change

_log = logging.getLogger("refresher")


class Reloader:
    """Keeps the tokens of `runtime` as the configuration file describes them. One thread runs `follow`."""

    def __init__(
        self,
        load: Callable[[], Loaded],
        loaded: Loaded,
        runtime: wiring.Runtime,
        service: "SystemdNotifier | None",
    ) -> None:
        """`load` reads the configuration anew; see `loader.load`. `loaded`: its last result, which `runtime`
        was built from."""
        self._load, self._runtime, self._service = load, runtime, service
        self._path = loaded.config_path or ""
        self._settings, self._warnings = loaded.without_tokens().settings, loaded.warnings
        self._tokens = {token.policy.name: token for token in runtime.tokens}
        self._proved = self._seen = loaded.digest  # the content of the file: its digest, or why there is none

    def follow(self, requests: Mailbox[str]) -> None:
        """Follow the file for ever. A message in `requests` demands a reload now."""
        while True:
            is_requested = requests.take(PERIOD) is not None
            while is_requested and requests.take(0) is not None:
                pass  # one reload answers all requests so far
            if is_requested:
                self.reload()
            else:
                self.poll()

    def poll(self) -> None:
        """Reload if the content of the file has changed and stayed the same since the last poll. The second
        condition keeps a half-written file out that happens to be valid."""
        before, self._seen = self._seen, self._content()
        if self._seen == before and self._seen != self._proved:
            self.reload()

    def reload(self) -> None:
        """Read the configuration. Use it if it is valid, and report the result."""
        if self._service is not None:
            self._service.reloading()
        self._proved = self._content()
        try:
            result: Notification = self._apply(self._load())
        except ConfigurationError as error:
            result = ConfigurationRefused(tuple(map(str, error.problems)))
        except RefresherError as error:  # the cluster is unknown
            result = ConfigurationRefused((str(error),))
        except Exception as error:  # noqa: BLE001 -- after a bug, too, the present tokens are kept fresh
            result = Crashed("reloading the configuration", error)
        self._runtime.mailbox.post(Message(None, None, (result,)))
        if self._service is not None:
            self._service.reloaded()

    def _content(self) -> str:
        try:
            return hashlib.sha256(content_of(self._path)).hexdigest()
        except MalformedError as error:
            return error.problem

    def _apply(self, loaded: Loaded) -> ConfigurationApplied:
        before, wanted = self._settings, loaded.settings
        ignored = tuple(name for name in NEEDS_RESTART if getattr(before, name) != getattr(wanted, name))
        _check_election(before, wanted)
        settings = wanted._replace(**{name: getattr(before, name) for name in NEEDS_RESTART})
        if has_secrets(settings):  # before the new parts replace the present ones: it may raise
            wiring.record_events(self._runtime)
        managed = {token.policy.name: token for token in self._runtime.assembly.tokens(settings)}
        self._runtime.engine.apply(managed.values())
        for warning in loaded.warnings:
            if warning not in self._warnings:
                _log.warning("configuration: %s", warning)
        known, self._tokens = self._tokens, managed
        self._settings, self._warnings = settings._replace(tokens=()), loaded.warnings
        return _difference(known, managed, ignored)


def _check_election(before: Settings, wanted: Settings) -> None:
    """Refuse files while an election that only a restart ends is running (config/rules.py)."""
    if before.leader_election is None or wanted.leader_election is not None:
        return
    if any(kind_of(type(output)).is_file for token in wanted.tokens for output in token.outputs):
        text = "is removed, and there is an output in a file, which leader election excludes: restart"
        raise ConfigurationError((Problem("leader_election", text),))


def _difference(
    before: dict[str, ManagedToken], after: dict[str, ManagedToken], ignored: tuple[str, ...]
) -> ConfigurationApplied:
    return ConfigurationApplied(
        added=len(after.keys() - before.keys()),
        changed=sum(before[name] != after[name] for name in before.keys() & after.keys()),
        removed=len(before.keys() - after.keys()),
        ignored=ignored,
    )
