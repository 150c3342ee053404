"""A real consumers' listener on loopback, on a clock that the test moves."""

import json
import threading
from collections.abc import Callable, Iterator

from refresher.clock import SystemClock
from refresher.core.instant import Instant
from refresher.core.model import SecretStr, Token
from refresher.outputs.memory import MemoryOutput
from refresher.web.consumers import Consumers, server_of
from tests.http.server.site import DEADLINE, Received, Site, running
from tests.outputs.tokens import SEALER, a_token

ASKED = {"X-Token-Refresher": "1"}
MINT = "/v1/keys/accesstoken"


class Listener:
    """A guarded listener with the tokens of these names, on a clock that the test moves."""

    def __init__(
        self,
        *names: str,
        wait: float = DEADLINE,
        client_secret: Callable[[], SecretStr | None] | None = None,
    ) -> None:
        self.served = {
            name: MemoryOutput(name, includes_refresh_token=name == "refreshing") for name in names
        }
        now = SystemClock().now()
        # Whole seconds, so that an age is exact.
        self.start = self.time = Instant(float(round(now.wall)), float(round(now.boot)))
        self.reports: list[tuple[str, str]] = []
        self.reported = threading.Event()
        self.site: Site
        self.consumers = Consumers(
            lambda: self.served, self._report, self, guarded=True, client_secret=client_secret, wait=wait
        )

    def now(self) -> Instant:
        return self.time

    def _report(self, name: str, fingerprint: str) -> None:
        self.reports.append((name, fingerprint))
        self.reported.set()

    def write(self, number: int, name: str = "studio") -> Token:
        token = a_token(number, issued=self.time)
        self.served[name].write(token, self.time, SEALER)
        return token

    def get(self, path: str, **headers: str) -> Received:
        return self.site.call(
            path, headers=ASKED | {name.replace("_", "-"): headers[name] for name in headers}
        )

    def post(self, path: str, document: object = None, **headers: str) -> Received:
        body = b"" if document is None else json.dumps(document).encode()
        return self.site.call(path, "POST", body, headers=headers)


def a_listener(
    *names: str, wait: float = DEADLINE, client_secret: Callable[[], SecretStr | None] | None = None
) -> Iterator[Listener]:
    listener = Listener(*names, wait=wait, client_secret=client_secret)
    with running() as run:
        listener.site = run(lambda listening: server_of(listener.consumers, listening))
        yield listener


def value(token: Token) -> str:
    return token.access.reveal()
