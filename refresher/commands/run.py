"""`refresher run`: run the daemon."""

import argparse
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

from refresher import __version__, cli_options, exit_codes, signals, wiring
from refresher.config import flags
from refresher.config.declarations import Settings
from refresher.config.loader import KEY, OUTPUTS, Loaded, load
from refresher.config.serving import ServeSettings
from refresher.core.events import Event, ExpiryReported, RefreshRequested, Stopping
from refresher.core.instant import Instant
from refresher.core.notifications import Notification, OutputWritten, TokenAdopted
from refresher.core.process_notifications import RequestIgnored
from refresher.core.status import ConfigurationStatus
from refresher.logs.observer import LogObserver
from refresher.metrics.counters import Counters
from refresher.ports import Message
from refresher.workers import Mailbox

if TYPE_CHECKING:
    from refresher.core.model import SecretStr
    from refresher.http.server.loop import Server
    from refresher.reload import Reloader
    from refresher.systemd import SystemdNotifier

LONGEST_PAUSE = 30.0  # seconds between two attempts to create a server
SERVE_BACKLOG = 1024  # consumers that connect at once
SERVE_AFTER = 1.0  # seconds: the endpoints answer after the first token, or this long after the start

EXAMPLE = """\
  refresher run --key-file /var/run/secrets/inlive/application-key \\
      --to-file /var/run/inlive/access-token --lifetime 1h --listen :9464
  refresher run --config /etc/inlive/refresher.yaml

signals:
  SIGTERM, SIGINT  stop      SIGUSR1  replace every token now (after a leak)
  SIGHUP           read the configuration file again, as after each change of it"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    cwd, found = os.getcwd(), cli_options.loaded(arguments, command="run", needs=(KEY, OUTPUTS))
    settings = found.settings
    counters, first_token = Counters(), FirstToken()
    runtime = wiring.installation(settings, [LogObserver(), counters, first_token])
    if found.config_path is not None:
        counters.configuration = ConfigurationStatus(runtime.clock.now().wall)
    dropped = cli_options.configure_log(found.log, runtime.secrets.blot_out)
    with bound(settings) as listening:
        if listening.endpoints is not None:
            make = partial(endpoints_server, listening.endpoints, runtime, counters, dropped)
            runtime.workers.run(partial(serve, make, "the endpoints", first_token), "endpoints")
        if listening.consumers is not None and settings.serve is not None:
            secret = _client_secret(settings.serve, runtime)
            make = partial(_consumers, listening.consumers, secret, runtime)
            runtime.workers.run(partial(serve, make, "the consumers' listener", first_token), "consumers")
        logging.getLogger("refresher").info(
            "inlive-token-refresher %s, process %d, issuer %s, tokens: %d, %s",
            __version__,
            os.getpid(),
            " and ".join(issuer.url for issuer in settings.all_issuers),
            len(settings.tokens),
            listening.described(),
        )
        with reported_to_service_manager(runtime) as service:
            load_again = partial(load, vars(arguments), os.environ, cwd, needs=(KEY, OUTPUTS), command="run")
            reloader = partial(_reloader, load_again, found, runtime, service)
            requests = _reload_requests(found, reloader, runtime, first_token)
            obey_signals(runtime, service, requests)
            if runtime.elector is not None:
                runtime.elector.start(runtime.workers.run)
            runtime.engine.run()
            if runtime.elector is not None:
                runtime.elector.release()
    return exit_codes.DONE


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


def _consumers(
    listening: socket.socket,
    client_secret: "Callable[[], SecretStr | None] | None",
    runtime: wiring.Runtime,
) -> "Server":
    from refresher.web.consumers import Consumers, server_of  # noqa: PLC0415 -- after the first token

    def report(token: str, fingerprint: str) -> None:
        runtime.mailbox.post(Message(token, ExpiryReported(fingerprint)))

    consumers = Consumers(
        lambda: runtime.assembly.served,
        report,
        runtime.clock,
        guarded=listening.family is not socket.AF_UNIX,
        client_secret=client_secret,
    )
    return server_of(consumers, listening)


def _client_secret(serve: ServeSettings, runtime: wiring.Runtime) -> "Callable[[], SecretStr | None] | None":
    """A function that returns the present client secret of OAuth2 clients; None if they need none."""
    if serve.secret_file is None:
        return None
    from refresher.keys.followed import FollowedSecret  # noqa: PLC0415 -- only with this option
    from refresher.keys.keyfile import KeyFile  # noqa: PLC0415

    secret = FollowedSecret(KeyFile(serve.secret_file, "client secret"))
    runtime.workers.run(secret.follow, "client-secret")
    return lambda: secret.value


def _reload_requests(
    found: Loaded, make: "Callable[[], Reloader]", runtime: wiring.Runtime, first_token: FirstToken
) -> Mailbox[str] | None:
    """Follow the configuration file, if there is one. Returns where to post requests for a reload."""
    if found.config_path is None:
        return None
    requests = Mailbox[str]()
    runtime.workers.run(partial(_follow, make, requests, first_token), "configuration")
    return requests


def _follow(make: "Callable[[], Reloader]", requests: Mailbox[str], first_token: FirstToken) -> None:
    """Follow the configuration file. The modules for it are imported after the first token."""
    first_token.wait(SERVE_AFTER)
    make().follow(requests)


def _reloader(
    load_again: Callable[[], Loaded],
    found: Loaded,
    runtime: wiring.Runtime,
    service: "SystemdNotifier | None",
) -> "Reloader":
    from refresher.reload import Reloader  # noqa: PLC0415 -- after the first token

    return Reloader(load_again, found, runtime, service)


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
