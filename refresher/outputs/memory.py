"""An output in the memory of this process: the consumers' listener serves its token."""

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import TypeVar

from refresher.core.instant import Instant
from refresher.core.model import Holding, Token
from refresher.core.seal import Sealer
from refresher.errors import OutputError
from refresher.ports import SERVED

Answer = TypeVar("Answer")


class MemoryOutput:
    """Holds one token, and lets any thread wait for the next one. It is empty after a restart.

    `includes_refresh_token`: if false, `write` drops the refresh token, so it cannot be served by mistake.
    """

    secret: tuple[str, str] | None = None

    def __init__(self, token_name: str, *, includes_refresh_token: bool = False) -> None:
        self.name = self.lane = SERVED + token_name
        self.includes_refresh_token = includes_refresh_token
        self._lock = threading.Lock()  # protects the two below
        self._token: Token | None = None
        self._waiting: dict[object, Callable[[Token], None]] = {}  # by future

    @property
    def token(self) -> Token | None:
        """The token that was written last; it may have expired. Any thread may call this."""
        return self._token

    def successor(self, known: str, answer: Callable[[Token], Answer]) -> "Future[Answer]":
        """A future with `answer` of the first token whose fingerprint is not `known`; done if it is there.

        `answer` runs on the thread that writes, so it must be quick. Cancel the future to stop waiting.
        """
        future: Future[Answer] = Future()

        def resolve(token: Token) -> None:
            if future.set_running_or_notify_cancel():
                future.set_result(answer(token))

        with self._lock:
            token = self._token
            if token is None or token.facts.fingerprint == known:
                self._waiting[future] = resolve
                future.add_done_callback(self._forget)
                return future
        resolve(token)
        return future

    def _forget(self, future: object) -> None:
        with self._lock:
            self._waiting.pop(future, None)

    # ports.Output

    def inspect(self, now: Instant) -> Holding:  # noqa: ARG002 -- nobody else can alter it
        token = self._token
        return Holding() if token is None else Holding(token.facts, token, intact=True)

    def write(self, token: Token, now: Instant, sealer: Sealer) -> None:  # noqa: ARG002 -- nothing to seal
        if not self.includes_refresh_token:
            token = token._replace(refresh_token=None)
        with self._lock:
            is_news = self._token is None or self._token.facts.fingerprint != token.facts.fingerprint
            self._token = token
            if not is_news:
                return
            waiting, self._waiting = self._waiting, {}
        for resolve in waiting.values():
            resolve(token)

    def claim(self) -> None:
        """Nothing to do: no other process can reach it."""

    def request_refresh(self, at: float) -> None:  # noqa: ARG002 -- see the message
        raise OutputError("is in the memory of its daemon: send the daemon SIGUSR1")

    def has_changed(self) -> bool:
        return False

    def request_seen(self) -> float | None:
        return None

    def release(self, wanted: Callable[[], Collection[str]]) -> bool:  # noqa: ARG002 -- it ends with its last user
        return False

    def dry_run(self) -> tuple[str, ...]:
        return ()
