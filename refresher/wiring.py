"""From settings to parts: what the commands have in common."""

import math
import os
import random
import socket
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from refresher.cli_options import OWNER_VARIABLE
from refresher.clock import SystemClock
from refresher.config.addresses import namespaced
from refresher.config.declarations import IssuerSettings, LeaderElectionSettings, Settings, TokenSettings
from refresher.config.output_kinds import secrets_of
from refresher.config.rules import problems_of_namespace
from refresher.core.state import OutputPolicy, TokenPolicy
from refresher.engine import Engine
from refresher.errors import ConfigurationError
from refresher.executor import KEYS, LIMITS, MINTS_AT_ONCE, POLLS, Executor, ManagedToken
from refresher.keys.keyfile import KeyFile
from refresher.observers.redaction import SecretIndex
from refresher.outputs import Cluster, build
from refresher.outputs.directories import Directories
from refresher.outputs.record import DEFAULT_OWNER
from refresher.ports import Clock, Issuer, Message, Observer, Verifier
from refresher.workers import Mailbox, Workers

if TYPE_CHECKING:
    from refresher.kube.api import KubeApi
    from refresher.kube.elector import Elector
    from refresher.kube.events import EventRecorder


def issuer(settings: IssuerSettings, clock: Clock, connections: int = 1) -> Issuer:
    """The issuer's client, for so many attempts at once."""
    from refresher.issuer.client import InliveIssuer  # noqa: PLC0415 -- HTTP: not for `wait` and `status`

    return InliveIssuer(settings.url, clock=clock, ca_file=settings.ca_file, pool_size=connections)


def verifier(settings: IssuerSettings, connections: int = 1) -> Verifier | None:
    """Who tries new tokens out; None where that is not configured."""
    if settings.verify is None:
        return None
    from refresher.issuer.client import UrlVerifier  # noqa: PLC0415 -- as above

    return UrlVerifier(settings.verify, settings.ca_file, connections)


class Runtime(NamedTuple):
    """An engine with a real executor, and how to reach it."""

    engine: Engine
    workers: Workers
    secrets: SecretIndex
    mailbox: Mailbox[Message]
    clock: SystemClock
    elector: "Elector | None"
    events: "EventRecorder | None"


def installation(settings: Settings, observers: Sequence[Observer], horizon: float = 0.0) -> Runtime:
    """The engine for these settings, not started yet; `horizon` as in TokenPolicy. Raises ConfigurationError
    and KubeConfigError."""
    clock, mailbox, index = SystemClock(), Mailbox[Message](), SecretIndex()
    connect = cache(kubernetes)
    elector = _elector(settings.leader_election, connect, clock, mailbox)
    tokens = managed_tokens(settings, horizon, connect, elector)
    events = _events(settings, connect)
    minter = issuer(settings.issuer, clock, min(MINTS_AT_ONCE, len(tokens)))
    workers = Workers({name: limit.pool for name, limit in LIMITS.items()} | {KEYS: POLLS})
    engine = Engine(
        tokens,
        executor=Executor(
            minter,
            clock,
            mailbox,
            workers,
            random.random,
            verifier=verifier(settings.issuer, min(MINTS_AT_ONCE, len(tokens))),
        ),
        clock=clock,
        mailbox=mailbox,
        observers=[*observers, events] if events else observers,
        leads=lambda: elector is None or elector.time_left() > 0,
        hold=index.hold,
    )
    return Runtime(engine, workers, index, mailbox, clock, elector, events)


def _elector(
    settings: LeaderElectionSettings | None,
    connect: Callable[[], "KubeApi"],
    clock: Clock,
    mailbox: Mailbox[Message],
) -> "Elector | None":
    if settings is None:
        return None
    from refresher.core.election import Election, timing_of  # noqa: PLC0415 -- where there is one
    from refresher.kube.elector import Elector  # noqa: PLC0415

    api = connect()
    lease = "/".join(namespaced(settings.lease, api.namespace))
    # The name is for people; the rest makes a restarted process another candidate.
    identity = f"{socket.gethostname()}_{os.urandom(4).hex()}"
    return Elector(api, lease, Election(identity, timing_of(settings.duration)), clock, mailbox)


def _events(settings: Settings, connect: Callable[[], "KubeApi"]) -> "EventRecorder | None":
    if not has_secrets(settings):
        return None
    from refresher.kube.events import EventRecorder  # noqa: PLC0415 -- where there are Secrets

    api = connect()
    return EventRecorder(api, {token.name: secrets(token, api.namespace) for token in settings.tokens})


def has_secrets(settings: Settings) -> bool:
    """Whether anything is to be published in Kubernetes."""
    return any(secrets(token, home="") for token in settings.tokens)


def secrets(token: TokenSettings, home: str) -> list[tuple[str, str]]:
    """Namespace and name of each Secret in which `token` is published; `home` is our own namespace."""
    return secrets_of(token.outputs, home)


def managed_tokens(
    settings: Settings,
    horizon: float = 0.0,
    connect: "Callable[[], KubeApi] | None" = None,
    elector: "Elector | None" = None,
) -> list[ManagedToken]:
    """Every token with its key source and outputs; to be minted and written only while `elector` leads.

    Keys in one file are read once, and all Secrets share one connection to Kubernetes. Raises
    KubeConfigError, and ConfigurationError for two outputs that are one Secret.
    """
    keys = {token.key_file: KeyFile(token.key_file) for token in settings.tokens}
    connect = connect or cache(kubernetes)
    if has_secrets(settings):
        problems = problems_of_namespace(connect().namespace, settings.tokens)
        if problems:
            raise ConfigurationError(problems)
    cluster = Cluster(connect, owner(), elector.time_left if elector else lambda: math.inf)
    directories = Directories()
    return [
        _managed(
            token, settings, keys[token.key_file], cluster, directories, horizon, elected=elector is not None
        )
        for token in settings.tokens
    ]


def kubernetes() -> "KubeApi":
    """The API server that is configured; it is not asked anything yet. Raises KubeConfigError."""
    from refresher.kube.lean import connect  # noqa: PLC0415 -- for Secrets and leases

    return connect(SystemClock())


def owner() -> str:
    """The name of this installation in the Secrets and files that it writes, as [NAMESPACE/]NAME. It does not
    depend on the Lease: who turns leader election on or off keeps the Secrets."""
    return os.environ.get(OWNER_VARIABLE) or DEFAULT_OWNER


def _managed(  # noqa: PLR0913 -- what one token has of its own, and what it shares with all
    token: TokenSettings,
    settings: Settings,
    key: KeyFile,
    cluster: Cluster,
    directories: Directories,
    horizon: float,
    *,
    elected: bool,
) -> ManagedToken:
    outputs = tuple(build(each, settings.issuer.url, cluster, directories) for each in token.outputs)
    policy = TokenPolicy(
        name=token.name,
        lifetime=token.lifetime,
        refresh_at=token.refresh_at,
        timeout=settings.issuer.timeout,
        issuer=settings.issuer.url,
        outputs=tuple(
            OutputPolicy(output.name, wants.propagation_delay, output.includes_refresh_token)
            for output, wants in zip(outputs, token.outputs, strict=True)
        ),
        horizon=horizon,
        elected=elected,
    )
    return ManagedToken(policy, key, outputs)
