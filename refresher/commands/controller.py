"""`refresher controller`: serve the `AccessToken` objects of a cluster."""

import argparse
import logging
import os
import random
import threading
from functools import partial

from refresher import __version__, cli_options, exit_codes, wiring
from refresher.config import flags
from refresher.config.declarations import Settings
from refresher.controller.scope import Scope, scope_of
from refresher.daemon import (
    FirstToken,
    bound,
    endpoints_server,
    obey_signals,
    reported_to_service_manager,
    run_engine,
    serve,
)
from refresher.errors import ConfigurationError, Problem
from refresher.logs.observer import LogObserver
from refresher.metrics.counters import Counters
from refresher.ports import forever

EXAMPLE = """\
  refresher controller --listen :9464 --lease token-refresher
  refresher controller --namespaces studio,lobby --selector tier=production
  refresher controller --all-namespaces

Keys are read from Secrets with the label token-refresher.inlive.app/key=true, in the namespace of the
AccessToken:
  kubectl label secret inlive-application-key token-refresher.inlive.app/key=true
Replace one token now:
  kubectl annotate accesstoken NAME --overwrite token-refresher.inlive.app/refresh="$(date -u +%FT%TZ)"

signals:
  SIGTERM, SIGINT  stop      SIGUSR1  replace every token now (after a leak)"""

GROUPS = ("issuer", "listen", "election", "log")  # of its flags and variables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    served = parser.add_argument_group("served objects")
    served.add_argument(
        "--namespaces",
        metavar="NAMESPACES",
        help="namespaces to serve, separated by commas. Default: the namespace of this Pod",
    )
    served.add_argument(
        "--all-namespaces",
        action="store_true",
        help="serve every namespace of the cluster; needs a ClusterRole",
    )
    served.add_argument(
        "--selector", metavar="LABELS", help="serve only AccessTokens with these labels, as for kubectl get"
    )
    flags.add_flags(parser, GROUPS)


def run(arguments: argparse.Namespace) -> int:
    _expect_no_other_variables()
    found = cli_options.loaded(arguments, command="controller", needs=())
    settings = found.settings
    counters, first_token = Counters(), FirstToken()
    runtime = wiring.installation(settings, [LogObserver(), counters, first_token])
    home = runtime.assembly.connect().namespace
    scope = scope_of(arguments.namespaces, arguments.selector, home, everywhere=arguments.all_namespaces)
    dropped = cli_options.configure_log(found.log, runtime.secrets.blot_out)
    with bound(settings) as listening:
        objects = _Objects(runtime, settings, scope)
        if listening.endpoints is not None:
            make = partial(
                endpoints_server, listening.endpoints, runtime, counters, dropped, objects.watches.unready
            )
            runtime.workers.run(partial(serve, make, "the endpoints", first_token), "endpoints")
        logging.getLogger("refresher").info(
            "inlive-token-refresher %s, process %d, issuer %s, controller of %s, %s",
            __version__,
            os.getpid(),
            settings.issuer.url,
            scope.described(),
            listening.described(),
        )
        with reported_to_service_manager(runtime) as service:
            obey_signals(runtime, service, None)
            objects.start()
            run_engine(runtime)
    return exit_codes.DONE


def _expect_no_other_variables() -> None:
    text = (
        "the controller does not use it, because it takes its tokens from AccessToken objects; unset it, or "
        "start `refresher run`"
    )
    if names := flags.variables_beyond(GROUPS, os.environ):
        raise ConfigurationError(tuple(Problem(name, text) for name in names))


class _Objects:
    """The watches of `scope`, and what follows them in the engine of `runtime`."""

    def __init__(self, runtime: wiring.Runtime, settings: Settings, scope: Scope) -> None:
        api = runtime.assembly.connect()  # before the imports: they need the Kubernetes client
        from refresher.controller.reconciler import Reconciler, WatchReports  # noqa: PLC0415
        from refresher.controller.statuses import StatusWriter  # noqa: PLC0415
        from refresher.controller.tokens import ObjectTokens  # noqa: PLC0415
        from refresher.controller.watches import Watches  # noqa: PLC0415
        from refresher.kube.events import EventRecorder  # noqa: PLC0415

        self._workers, self._changed, engine = runtime.workers, threading.Event(), runtime.engine
        time_left = runtime.elector.time_left if runtime.elector is not None else None
        self.watches = Watches(
            api,
            scope,
            longest=settings.issuer.max_lifetime,
            changed=self._changed.set,
            judged=WatchReports(runtime.mailbox).judged,
            roll=random.random,
        )
        tokens = ObjectTokens(settings, api, runtime.clock, self.watches, time_left)
        self._statuses = StatusWriter(
            api,
            runtime.clock,
            runtime.mailbox,
            stored=self.watches.stored,
            state=engine.state,
            is_current=lambda name: engine.managed(name) is tokens.current(name),
            leads=lambda: (time_left or forever)() > 0,
        )
        self._reconciler = Reconciler(engine, runtime.mailbox, tokens, self.watches, self._statuses)
        recorder = EventRecorder(api, tokens.subjects, about_pod=False)
        runtime.observers.extend((self._statuses, recorder))

    def start(self) -> None:
        """Start the threads."""
        self.watches.start(self._workers.run)
        self._workers.run(partial(self._reconciler.run, self._changed), "reconciler")
        self._statuses.start(self._workers.run)
