"""`refresher run`: the daemon."""

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

LONGEST_PAUSE = 30.0  # seconds between two tries to serve them
SERVE_AFTER = 1.0  # seconds: the endpoints answer after the first token, or this long after the start

EXAMPLE = """\
  refresher run --key-file /var/run/secrets/inlive/application-key \\
      --to-file /var/run/inlive/access-token --lifetime 1h --listen :9464
  refresher run --config /etc/inlive/refresher.yaml

signals:
  SIGTERM, SIGINT  stop      SIGUSR1  mint every token anew now (after a leak)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    found = cli_options.loaded(arguments, command="run", needs=(KEY, OUTPUTS))
    settings = found.settings
    counters, first = Counters(), FirstToken()
    runtime = wiring.installation(settings, [LogObserver(), counters, first])
    dropped = cli_options.configure_log(found.log, runtime.secrets.blot_out)
    where = "endpoints nowhere: no --listen"
    if settings.listen is not None:
        from refresher.http.server.sockets import bind  # noqa: PLC0415 -- only where wanted

        # Now: an address in use is reported before anything is minted.
        listening = bind(settings.listen.host, settings.listen.port)
        where = f"endpoints on port {listening.getsockname()[1]}"
        serve = partial(_serve, listening, runtime, counters, first, dropped)
        runtime.workers.run(serve, "endpoints")
    logging.getLogger("refresher").info(
        "inlive-token-refresher %s, process %d, issuer %s, tokens: %d, %s",
        __version__,
        os.getpid(),
        settings.issuer.url,
        len(settings.tokens),
        where,
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
    """An observer that lets others wait until there is a token to be told about."""

    def __init__(self) -> None:
        self._seen = threading.Event()

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:  # noqa: ARG002
        if isinstance(notification, OutputWritten | TokenAdopted):
            self._seen.set()

    def wait(self, timeout: float) -> None:
        self._seen.wait(timeout)


def _serve(
    listening: socket.socket,
    runtime: wiring.Runtime,
    counters: Counters,
    first: "FirstToken",
    dropped: Callable[[], int],
) -> None:
    """Serve the endpoints. What they are made of is imported when the first token is out: connections wait in
    the backlog meanwhile."""
    first.wait(SERVE_AFTER)
    pause = SERVE_AFTER
    while (server := _server(listening, runtime, counters, dropped)) is None:
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    server.serve()


def _server(
    listening: socket.socket, runtime: wiring.Runtime, counters: Counters, dropped: Callable[[], int]
) -> "Server | None":
    """What serves the endpoints; None if it cannot be made now, without a free descriptor for one. The
    refresher goes on meanwhile, so the endpoints must not stay away for ever."""
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
        logging.getLogger("refresher").warning("the endpoints are not served yet: %s; trying again", error)
        return None


@contextmanager
def _service(runtime: wiring.Runtime) -> Iterator[Callable[[], None]]:
    """Have the service manager told how things stand, if we are run by one. What is given is to be called
    when the end begins."""
    if not os.environ.get("NOTIFY_SOCKET"):
        yield lambda: None
        return
    from refresher.systemd import SystemdNotifier  # noqa: PLC0415 -- where there is one

    engine = runtime.engine
    service = SystemdNotifier(os.environ, os.getpid(), engine.view, lambda: engine.last_turn, runtime.clock)
    service.start(runtime.workers.run)
    try:
        yield service.stopping
    finally:
        service.end()


def _obey_signals(runtime: wiring.Runtime, stopping: Callable[[], None]) -> None:
    """Signals become messages: nothing is done in a handler but posting. `stopping` posts one as well."""

    def posting(event: Event | None, *notifications: Notification) -> None:
        runtime.mailbox.post(Message(None, event, notifications))

    def stop(_number: int, _frame: FrameType | None) -> None:
        posting(Stopping())
        stopping()

    def refresh(_number: int, _frame: FrameType | None) -> None:
        if runtime.elector is not None and runtime.elector.time_left() <= 0:
            posting(None, RequestIgnored("SIGUSR1: this process stands by; send it to the one that leads"))
        else:
            posting(RefreshRequested())

    def reload(_number: int, _frame: FrameType | None) -> None:
        posting(None, RequestIgnored("SIGHUP: reading the configuration again is not supported yet; restart"))

    signals.take_over(
        {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGUSR1: refresh, signal.SIGHUP: reload}
    )
