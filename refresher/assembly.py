"""From settings to parts: what the commands have in common."""

import math
import os
import random
import socket
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from refresher.clock import SystemClock
from refresher.config.checks import mistakes_of_namespace
from refresher.config.declarations import (
    IssuerSettings,
    LeaderElectionSettings,
    SecretOutputSettings,
    Settings,
    TokenSettings,
)
from refresher.config.objects import placed
from refresher.core.state import OutputPolicy, TokenPolicy
from refresher.crew import Crew, Mailbox
from refresher.engine import Engine
from refresher.errors import ConfigurationError
from refresher.hands import KEYS, LIMITS, MINTS_AT_ONCE, POLLS, Charge, Hands
from refresher.keys.keyfile import KeyFile
from refresher.observers.redaction import SecretIndex
from refresher.outputs import Cluster, build
from refresher.outputs.directories import Directories
from refresher.outputs.record import DEFAULT_OWNER
from refresher.ports import Clock, Issuer, Letter, Observer, Verifier
from refresher.prelude import OWNER_VARIABLE

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


class Installation(NamedTuple):
    """An engine with real hands, and how to reach it."""

    engine: Engine
    crew: Crew
    secrets: SecretIndex
    mailbox: Mailbox[Letter]
    clock: SystemClock
    elector: "Elector | None"
    events: "EventRecorder | None"


def installation(settings: Settings, observers: Sequence[Observer], horizon: float = 0.0) -> Installation:
    """The engine for these settings, not started yet; `horizon` as in TokenPolicy. Raises ConfigurationError
    and KubeConfigError."""
    clock, mailbox, index = SystemClock(), Mailbox[Letter](), SecretIndex()
    connect = cache(kubernetes)
    elector = _elector(settings.leader_election, connect, clock, mailbox)
    all_charges = charges(settings, horizon, connect, elector)
    events = _events(settings, connect)
    minter = issuer(settings.issuer, clock, min(MINTS_AT_ONCE, len(all_charges)))
    crew = Crew({name: limit.pool for name, limit in LIMITS.items()} | {KEYS: POLLS})
    engine = Engine(
        all_charges,
        hands=Hands(
            minter,
            clock,
            mailbox,
            crew,
            random.random,
            verifier=verifier(settings.issuer, min(MINTS_AT_ONCE, len(all_charges))),
        ),
        clock=clock,
        mailbox=mailbox,
        observers=[*observers, events] if events else observers,
        leads=lambda: elector is None or elector.time_left() > 0,
        hold=index.hold,
    )
    return Installation(engine, crew, index, mailbox, clock, elector, events)


def _elector(
    settings: LeaderElectionSettings | None,
    connect: Callable[[], "KubeApi"],
    clock: Clock,
    mailbox: Mailbox[Letter],
) -> "Elector | None":
    if settings is None:
        return None
    api = connect()  # first: what follows imports the Kubernetes client
    from refresher.core.election import Election, terms_of  # noqa: PLC0415 -- where there is one
    from refresher.kube.elector import Elector  # noqa: PLC0415

    lease = "/".join(placed(settings.lease, api.namespace))
    # The name is for people; the rest makes a restarted process another candidate.
    identity = f"{socket.gethostname()}_{os.urandom(4).hex()}"
    return Elector(api, lease, Election(identity, terms_of(settings.duration)), clock, mailbox)


def _events(settings: Settings, connect: Callable[[], "KubeApi"]) -> "EventRecorder | None":
    if not has_secrets(settings):
        return None
    api = connect()  # before the import, as above
    from refresher.kube.events import EventRecorder  # noqa: PLC0415 -- where there are Secrets

    return EventRecorder(api, {token.name: secrets(token, api.namespace) for token in settings.tokens})


def has_secrets(settings: Settings) -> bool:
    """Whether anything is to be published in Kubernetes."""
    return any(secrets(token, home="") for token in settings.tokens)


def secrets(token: TokenSettings, home: str) -> list[tuple[str, str]]:
    """Namespace and name of each Secret in which `token` is published; `home` is our own namespace."""
    return [placed(each.secret, home) for each in token.outputs if isinstance(each, SecretOutputSettings)]


def charges(
    settings: Settings,
    horizon: float = 0.0,
    connect: "Callable[[], KubeApi] | None" = None,
    elector: "Elector | None" = None,
) -> list[Charge]:
    """Every token with its key source and outputs; to be minted and written only while `elector` leads.

    Keys in one file are read once, and all Secrets share one connection to Kubernetes. Raises
    KubeConfigError, and ConfigurationError for two outputs that are one Secret.
    """
    keys = {token.key_file: KeyFile(token.key_file) for token in settings.tokens}
    connect = connect or cache(kubernetes)
    if has_secrets(settings):
        mistakes = mistakes_of_namespace(connect().namespace, settings.tokens)
        if mistakes:
            raise ConfigurationError(mistakes)
    cluster = Cluster(connect, owner(settings), elector.time_left if elector else lambda: math.inf)
    directories = Directories()
    return [
        _charge(
            token, settings, keys[token.key_file], cluster, directories, horizon, elected=elector is not None
        )
        for token in settings.tokens
    ]


def kubernetes() -> "KubeApi":
    """The API server that is configured; it is not asked anything yet. Raises KubeConfigError."""
    from refresher.kube.lean import connect  # noqa: PLC0415 -- for Secrets and leases

    return connect(SystemClock())


def owner(settings: Settings) -> str:
    """What this installation is called in the Secrets and files that it writes, as [NAMESPACE/]NAME: like the
    Lease that its processes share, or as the environment says."""
    if settings.leader_election is not None:
        return settings.leader_election.lease
    return os.environ.get(OWNER_VARIABLE) or DEFAULT_OWNER


def _charge(  # noqa: PLR0913 -- what one token has of its own, and what it shares with all
    token: TokenSettings,
    settings: Settings,
    key: KeyFile,
    cluster: Cluster,
    directories: Directories,
    horizon: float,
    *,
    elected: bool,
) -> Charge:
    outputs = tuple(build(each, settings.issuer.url, cluster, directories) for each in token.outputs)
    policy = TokenPolicy(
        name=token.name,
        lifetime=token.lifetime,
        refresh_at=token.refresh_at,
        timeout=settings.issuer.timeout,
        outputs=tuple(
            OutputPolicy(output.name, wants.runway, output.needs_refresh)
            for output, wants in zip(outputs, token.outputs, strict=True)
        ),
        horizon=horizon,
        elected=elected,
    )
    return Charge(policy, key, outputs)
