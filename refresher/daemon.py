"""What the two commands that run until they are stopped share: sockets, endpoints, signals, systemd.

`commands/run.py` gets its tokens from a configuration, `commands/controller.py` from the API server.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

from refresher import __version__, signals, wiring
from refresher.config.declarations import Settings
from refresher.core.events import Event, RefreshRequested, Stopping
from refresher.core.instant import Instant
from refresher.core.notifications import Notification, OutputWritten, TokenAdopted
from refresher.core.process_notifications import RequestIgnored
from refresher.metrics.counters import Counters
from refresher.ports import Message
from refresher.workers import Mailbox

if TYPE_CHECKING:
    from refresher.http.server.loop import Server
    from refresher.systemd import SystemdNotifier

LONGEST_PAUSE = 30.0  # seconds between two attempts to create a server
SERVE_BACKLOG = 1024  # consumers that connect at once
SERVE_AFTER = 1.0  # seconds: the endpoints answer after the first token, or this long after the start


class Listening(NamedTuple):
    """The sockets that are bound now and served later."""

    endpoints: socket.socket | None = None
    consumers: socket.socket | None = None

    def described(self) -> str:
        words = "no endpoints (no --listen)"
        if self.endpoints is not None:
            words = f"endpoints on port {self.endpoints.getsockname()[1]}"
        if self.consumers is None:
            return words
        address = self.consumers.getsockname()
        where = f"unix:{address}" if isinstance(address, str) else f"port {address[1]}"
        return f"{words}, tokens served on {where}"


@contextmanager
def bound(settings: Settings) -> Iterator[Listening]:
    """Bind now, so that an address in use is reported before the first mint. Removes the Unix socket at the
    end."""
    if settings.listen is None and settings.serve is None:
        yield Listening()
        return
    from refresher.http.server import sockets  # noqa: PLC0415 -- only if configured

    listen, serve, endpoints, consumers = settings.listen, settings.serve, None, None
    if listen is not None:
        endpoints = sockets.bind(listen.host, listen.port)
    if serve is not None and serve.address.path:
        consumers = sockets.bind_unix(
            serve.address.path, mode=serve.mode, group=serve.group, backlog=SERVE_BACKLOG
        )
    elif serve is not None:
        host, port = serve.address.host, serve.address.port
        consumers = sockets.bind(host, port, option="--serve", backlog=SERVE_BACKLOG)
    try:
        yield Listening(endpoints, consumers)
    finally:
        if serve is not None and serve.address.path:
            with suppress(OSError):
                os.unlink(serve.address.path)


class FirstToken:
    """An observer with which other threads wait until a token has been written or adopted."""

    def __init__(self) -> None:
        self._seen = threading.Event()

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:  # noqa: ARG002
        if isinstance(notification, OutputWritten | TokenAdopted):
            self._seen.set()

    def wait(self, timeout: float) -> None:
        """Wait for it, at most `timeout` seconds."""
        self._seen.wait(timeout)


def serve(make: "Callable[[], Server]", name: str, first_token: FirstToken) -> None:
    """Serve. The modules of the server are imported after the first token; connections wait in the backlog
    until then. If the server cannot be created, for lack of a descriptor, this is retried later."""
    first_token.wait(SERVE_AFTER)
    pause = SERVE_AFTER
    while True:
        try:
            server = make()
            break
        except (ImportError, OSError) as error:
            log = logging.getLogger("refresher")
            log.warning("cannot serve %s yet: %s; retrying", name, error)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    server.serve()


def endpoints_server(
    listening: socket.socket,
    runtime: wiring.Runtime,
    counters: Counters,
    dropped: Callable[[], int],
    unready: Callable[[], list[dict[str, object]]] | None = None,
) -> "Server":
    """The server of the endpoints. `unready`: see `Endpoints`."""
    from refresher.web.endpoints import Endpoints, server_of  # noqa: PLC0415 -- after the first token

    engine = runtime.engine
    endpoints = Endpoints(
        engine.view,
        lambda: engine.last_turn,
        runtime.clock,
        counters,
        __version__,
        stuck=engine.stuck,
        log_lines_dropped=dropped,
        unready=unready,
    )
    return server_of(endpoints, listening)


@contextmanager
def reported_to_service_manager(runtime: wiring.Runtime) -> "Iterator[SystemdNotifier | None]":
    """Report our status to the service manager, if one runs us. The caller must call `stopping` when stopping
    begins."""
    if not os.environ.get("NOTIFY_SOCKET"):
        yield None
        return
    from refresher.systemd import SystemdNotifier  # noqa: PLC0415 -- only under a service manager

    engine = runtime.engine
    service = SystemdNotifier(os.environ, os.getpid(), engine.view, lambda: engine.last_turn, runtime.clock)
    service.start(runtime.workers.run)
    try:
        yield service
    finally:
        service.end()


def obey_signals(
    runtime: wiring.Runtime, service: "SystemdNotifier | None", requests: Mailbox[str] | None
) -> None:
    """Turn signals into messages: a handler only posts them, and `service.stopping` only posts, too.
    `requests`: for reloads; None without a configuration file."""

    def post(event: Event | None, *notifications: Notification) -> None:
        runtime.mailbox.post(Message(None, event, notifications))

    def stop(_number: int, _frame: FrameType | None) -> None:
        runtime.mailbox.post_first(Message(None, Stopping()))
        if service is not None:
            service.stopping()

    def refresh(_number: int, _frame: FrameType | None) -> None:
        if runtime.elector is not None and runtime.elector.time_left() <= 0:
            post(None, RequestIgnored("SIGUSR1: this process is a standby; send the signal to the leader"))
        else:
            post(RefreshRequested())

    def reload(_number: int, _frame: FrameType | None) -> None:
        if requests is not None:
            requests.post("SIGHUP")
        else:
            text = "SIGHUP: there is no configuration file (--config); changed flags need a restart"
            post(None, RequestIgnored(text))

    signals.take_over(
        {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGUSR1: refresh, signal.SIGHUP: reload}
    )


def run_engine(runtime: wiring.Runtime) -> None:
    """Run until it is stopped. Takes part in the election, if there is one, and gives its Lease back."""
    elector = runtime.elector
    if elector is not None:
        elector.start(runtime.workers.run)
    runtime.engine.run()
    if elector is not None:
        elector.release()
