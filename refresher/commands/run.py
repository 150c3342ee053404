"""`refresher run`: run the daemon."""

import argparse
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from refresher import __version__, cli_options, exit_codes, signals, wiring
from refresher.config import flags
from refresher.config.loader import KEY, OUTPUTS
from refresher.core.events import Event, RefreshRequested, Stopping
from refresher.core.instant import Instant
from refresher.core.notifications import Notification, OutputWritten, RequestIgnored, TokenAdopted
from refresher.logs.observer import LogObserver
from refresher.metrics.counters import Counters
from refresher.ports import Message

if TYPE_CHECKING:
    from refresher.http.server.loop import Server

LONGEST_PAUSE = 30.0  # seconds between two attempts to serve the endpoints
SERVE_AFTER = 1.0  # seconds: the endpoints respond after the first token, or this long after the start

EXAMPLE = """\
  refresher run --key-file /var/run/secrets/inlive/application-key \\
      --to-file /var/run/inlive/access-token --lifetime 1h --listen :9464
  refresher run --config /etc/inlive/refresher.yaml

signals:
  SIGTERM, SIGINT  stop      SIGUSR1  replace every token now (after a leak)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    found = cli_options.loaded(arguments, command="run", needs=(KEY, OUTPUTS))
    settings = found.settings
    counters, first_token = Counters(), FirstToken()
    runtime = wiring.installation(settings, [LogObserver(), counters, first_token])
    dropped = cli_options.configure_log(found.log, runtime.secrets.blot_out)
    endpoints = "no endpoints (no --listen)"
    if settings.listen is not None:
        from refresher.http.server.sockets import bind  # noqa: PLC0415 -- only with --listen

        # Bind now, to report an address in use before anything is minted.
        listening = bind(settings.listen.host, settings.listen.port)
        endpoints = f"endpoints on port {listening.getsockname()[1]}"
        serve = partial(_serve, listening, runtime, counters, first_token, dropped)
        runtime.workers.run(serve, "endpoints")
    logging.getLogger("refresher").info(
        "inlive-token-refresher %s, process %d, issuer %s, tokens: %d, %s",
        __version__,
        os.getpid(),
        settings.issuer.url,
        len(settings.tokens),
        endpoints,
    )
    with _service(runtime) as stopping:
        _obey_signals(runtime, stopping)
        if runtime.elector is not None:
            runtime.elector.start(runtime.workers.run)
        runtime.engine.run()
        if runtime.elector is not None:
            runtime.elector.release()
    return exit_codes.DONE


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


def _serve(
    listening: socket.socket,
    runtime: wiring.Runtime,
    counters: Counters,
    first_token: "FirstToken",
    dropped: Callable[[], int],
) -> None:
    """Serve the endpoints. Their modules are imported only after the first token; until then connections wait
    in the backlog."""
    first_token.wait(SERVE_AFTER)
    pause = SERVE_AFTER
    while (server := _server(listening, runtime, counters, dropped)) is None:
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    server.serve()


def _server(
    listening: socket.socket, runtime: wiring.Runtime, counters: Counters, dropped: Callable[[], int]
) -> "Server | None":
    """The server of the endpoints. None if it cannot be created now, for example without a free descriptor;
    the daemon keeps running, so the caller must retry."""
    try:
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
        )
        return server_of(endpoints, listening)
    except (ImportError, OSError) as error:
        logging.getLogger("refresher").warning("cannot serve the endpoints yet: %s; retrying", error)
        return None


@contextmanager
def _service(runtime: wiring.Runtime) -> Iterator[Callable[[], None]]:
    """Report our status to the service manager, if one runs us. The caller must call the function that this
    yields when stopping begins."""
    if not os.environ.get("NOTIFY_SOCKET"):
        yield lambda: None
        return
    from refresher.systemd import SystemdNotifier  # noqa: PLC0415 -- only under a service manager

    engine = runtime.engine
    service = SystemdNotifier(os.environ, os.getpid(), engine.view, lambda: engine.last_turn, runtime.clock)
    service.start(runtime.workers.run)
    try:
        yield service.stopping
    finally:
        service.end()


def _obey_signals(runtime: wiring.Runtime, stopping: Callable[[], None]) -> None:
    """Turn signals into messages: a handler only posts them. `stopping` only posts, too."""

    def post(event: Event | None, *notifications: Notification) -> None:
        runtime.mailbox.post(Message(None, event, notifications))

    def stop(_number: int, _frame: FrameType | None) -> None:
        post(Stopping())
        stopping()

    def refresh(_number: int, _frame: FrameType | None) -> None:
        if runtime.elector is not None and runtime.elector.time_left() <= 0:
            post(None, RequestIgnored("SIGUSR1: this process is a standby; send the signal to the leader"))
        else:
            post(RefreshRequested())

    def reload(_number: int, _frame: FrameType | None) -> None:
        post(None, RequestIgnored("SIGHUP: reloading the configuration is not supported yet; restart"))

    signals.take_over(
        {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGUSR1: refresh, signal.SIGHUP: reload}
    )
