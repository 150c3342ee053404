"""Keeps the tokens of the engine as the `AccessToken` objects demand them.

The watches say that something has changed. One thread then looks at everything that is known, and gives the
engine the tokens that are desired now. It compares states and not changes, so a missed or a double change
does no harm. An object that changes a hundred times a second costs one look in a while.
"""

import threading
import time
from collections.abc import Mapping
from operator import is_not

from refresher.controller.desired import judge
from refresher.controller.known import Known
from refresher.controller.statuses import StatusWriter
from refresher.controller.tokens import ObjectTokens
from refresher.controller.watches import Watches
from refresher.core.events import RefreshPlaced
from refresher.core.object_notifications import (
    ObjectAccepted,
    ObjectRefused,
    WatchFailed,
    WatchRecovered,
)
from refresher.core.process_notifications import Crashed
from refresher.engine import Engine
from refresher.kube.watch import Collection
from refresher.ports import Mailbox, ManagedToken, Message

GATHER = 0.1  # seconds between two looks, so that changes that come together are handled together
SHARE = 4  # a look that takes a second is followed by a pause of so many


class Reconciler:
    """One thread runs `run`. `judged` is called on the threads of the watches."""

    def __init__(
        self,
        engine: Engine,
        mailbox: Mailbox,
        tokens: ObjectTokens,
        watches: Watches,
        statuses: StatusWriter,
    ) -> None:
        self._engine, self._mailbox = engine, mailbox
        self._tokens, self._watches, self._statuses = tokens, watches, statuses
        self._wanted: list[ManagedToken] = []
        self._mistakes: dict[str, tuple[str, ...]] = {}  # by token, as reported
        self._requests: dict[str, float] = {}  # by token, as passed on

    def run(self, changed: threading.Event) -> None:
        """Follow the watches for ever. They set `changed` after each change."""
        while True:
            changed.wait()
            changed.clear()
            began = time.monotonic()
            try:
                self.reconcile()
            except Exception as error:  # noqa: BLE001 -- after a bug, too, the present tokens are kept fresh
                self._mailbox.post(Message(None, None, (Crashed("following the AccessTokens", error),)))
            time.sleep(max(GATHER, SHARE * (time.monotonic() - began)))

    def reconcile(self) -> None:
        """Give the engine the tokens that the objects demand now. Report new mistakes in objects."""
        objects = self._watches.objects()
        verdict = judge(objects.values(), self._watches.key_secrets())
        wanted = self._tokens.of(verdict.served)
        if len(wanted) != len(self._wanted) or any(map(is_not, wanted, self._wanted)):
            self._engine.apply(wanted)
            self._wanted = wanted
        self._report(objects, verdict.mistakes)
        self._pass_on(verdict.served)
        self._statuses.follow(objects, verdict.mistakes)

    def _report(self, objects: Mapping[str, Known], mistakes: Mapping[str, tuple[str, ...]]) -> None:
        """Report the mistakes that came and those that went."""
        before = self._mistakes
        present = {name: mistakes[known.uid] for name, known in objects.items() if known.uid in mistakes}
        for name, found in present.items():
            if before.get(name) != found:
                self._mailbox.post(Message(name, None, (ObjectRefused(found),)))
        for name in (before.keys() - present.keys()) & objects.keys():
            self._mailbox.post(Message(name, None, (ObjectAccepted(),)))
        self._mistakes = present

    def _pass_on(self, served: tuple[Known, ...]) -> None:
        """Pass on the requests for new tokens. The inspections of the Secrets see them too, but later."""
        requests = {known.token: known.refresh for known in served if known.refresh is not None}
        for name, at in requests.items():
            token = self._tokens.current(name)
            if token is not None and self._requests.get(name) != at:
                self._mailbox.post(Message(name, RefreshPlaced(token.outputs[0].name, at)))
        self._requests = requests


class WatchReports:
    """Passes on whether the watches work, as notifications."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._works: set[str] = set()

    def judged(self, collection: Collection, problem: str | None) -> None:
        """The result of an attempt of a watch; see `Watches`."""
        noun = collection.noun
        if problem is not None:
            self._works.discard(noun)
            self._mailbox.post(Message(None, None, (WatchFailed(noun, problem),)))
        elif noun not in self._works:
            self._works.add(noun)
            self._mailbox.post(Message(None, None, (WatchRecovered(noun),)))
