"""`refresher run`: run the daemon."""

import argparse
import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from refresher import __version__, cli_options, exit_codes, wiring
from refresher.config import flags
from refresher.config.loader import KEY, OUTPUTS, Loaded, load
from refresher.config.serving import ServeSettings
from refresher.core.events import ExpiryReported
from refresher.core.status import ConfigurationStatus
from refresher.daemon import (
    SERVE_AFTER,
    FirstToken,
    bound,
    endpoints_server,
    obey_signals,
    reported_to_service_manager,
    run_engine,
    serve,
)
from refresher.logs.observer import LogObserver
from refresher.metrics.counters import Counters
from refresher.ports import Message
from refresher.workers import Mailbox

if TYPE_CHECKING:
    from refresher.core.model import SecretStr
    from refresher.http.server.loop import Server
    from refresher.reload import Reloader
    from refresher.systemd import SystemdNotifier

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
    counters, first_token = Counters(), FirstToken()
    runtime = wiring.installation(found.settings, [LogObserver(), counters, first_token])
    found = found.without_tokens()
    settings = found.settings
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
            len(runtime.tokens),
            listening.described(),
        )
        with reported_to_service_manager(runtime) as service:
            load_again = partial(load, vars(arguments), os.environ, cwd, needs=(KEY, OUTPUTS), command="run")
            reloader = partial(_reloader, load_again, found, runtime, service)
            requests = _reload_requests(found, reloader, runtime, first_token)
            obey_signals(runtime, service, requests)
            run_engine(runtime)
    return exit_codes.DONE


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
