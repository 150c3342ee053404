"""Builds the engine and its adapters from the settings, for all commands."""

import os
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from refresher.assembly import Assembly, has_secrets, kubernetes
from refresher.clock import SystemClock
from refresher.config.addresses import namespaced
from refresher.config.declarations import LeaderElectionSettings, Settings
from refresher.engine import Engine
from refresher.executor import KEYS, LIMITS, POLLS, Executor
from refresher.logs.redaction import SecretIndex
from refresher.ports import Clock, ManagedToken, Message, Observer
from refresher.workers import Mailbox, Workers

if TYPE_CHECKING:
    from refresher.kube.api import KubeApi
    from refresher.kube.elector import Elector
    from refresher.kube.events import EventRecorder
    from refresher.outputs.memory import MemoryOutput


class Runtime(NamedTuple):
    """An engine with a real executor, and the parts that commands use directly."""

    engine: Engine
    workers: Workers
    secrets: SecretIndex
    mailbox: Mailbox[Message]
    clock: SystemClock
    elector: "Elector | None"
    events: "list[EventRecorder]"  # one, if any token is published in a Secret
    assembly: Assembly
    tokens: list[ManagedToken]  # at the start
    observers: list[Observer]


def installation(
    settings: Settings,
    observers: Sequence[Observer],
    horizon: float = 0.0,
    served: "Mapping[str, MemoryOutput] | None" = None,
) -> Runtime:
    """The engine for these settings, not started yet. `horizon`: see `TokenPolicy`; `served`: see
    `Assembly.tokens`. Raises ConfigurationError and KubeConfigError."""
    clock, mailbox, index = SystemClock(), Mailbox[Message](), SecretIndex()
    connect = cache(kubernetes)
    elector = _elector(settings.leader_election, connect, clock, mailbox)
    assembly = Assembly(clock, connect, elector, index.blot_out, horizon)
    tokens = assembly.tokens(settings, served)
    present = list(observers)
    workers = Workers({name: limit.threads for name, limit in LIMITS.items()} | {KEYS: POLLS})
    engine = Engine(
        tokens,
        executor=Executor(clock, mailbox, workers, random.random),
        clock=clock,
        mailbox=mailbox,
        observers=present,
        hold=index.hold,
    )
    runtime = Runtime(engine, workers, index, mailbox, clock, elector, [], assembly, tokens, present)
    if has_secrets(settings):
        record_events(runtime)
    return runtime


def record_events(runtime: Runtime) -> None:
    """Record Events from now on, unless they are recorded already. Only for tokens in Secrets."""
    if runtime.events:
        return
    api = runtime.assembly.connect()  # before the import, as above
    from refresher.kube.events import EventRecorder, Subject  # noqa: PLC0415 -- only with Secrets

    def secrets_of(token: str) -> dict[str, Subject]:
        managed = runtime.engine.managed(token)
        outputs = managed.outputs if managed else ()
        return {
            output.name: Subject("Secret", namespace=output.secret[0], name=output.secret[1])
            for output in outputs
            if output.secret
        }

    recorder = EventRecorder(api, secrets_of)
    runtime.events.append(recorder)
    runtime.observers.append(recorder)


def _elector(
    settings: LeaderElectionSettings | None,
    connect: Callable[[], "KubeApi"],
    clock: Clock,
    mailbox: Mailbox[Message],
) -> "Elector | None":
    if settings is None:
        return None
    api = connect()  # before the import of the Kubernetes client
    from refresher.core.election import Election, timing_of  # noqa: PLC0415 -- only with an election
    from refresher.kube.elector import Elector  # noqa: PLC0415

    lease = "/".join(namespaced(settings.lease, api.namespace))
    # The host name is for people. The random part makes a restarted process a new candidate.
    identity = f"{socket.gethostname()}_{os.urandom(4).hex()}"
    return Elector(api, lease, Election(identity, timing_of(settings.duration)), clock, mailbox)
