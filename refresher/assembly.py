"""From settings to parts: what the commands have in common."""

import argparse
import math
import os
import random
import socket
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
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
from refresher.config.durations import parse_duration
from refresher.config.loader import Loaded, load
from refresher.core.model import SecretStr
from refresher.core.state import OutputPolicy, TokenPolicy
from refresher.crew import Crew, Mailbox
from refresher.engine import MINTS_AT_ONCE, Engine
from refresher.errors import ConfigurationError, Mistake
from refresher.hands import Charge, Hands
from refresher.keys.keyfile import KeyFile
from refresher.observers import log
from refresher.outputs import Cluster, build
from refresher.ports import Clock, Issuer, Letter, Observer

if TYPE_CHECKING:
    from refresher.kube.api import KubeApi
    from refresher.kube.elector import Elector

WORKERS = MINTS_AT_ONCE + 4  # threads, started as they are needed: there is always one for what is no mint

LOG_VARIABLES = ("REFRESHER_LOG_FORMAT", "REFRESHER_LOG_LEVEL")
OWNER_VARIABLE = "REFRESHER_OWNER"
DEFAULT_OWNER = "inlive-token-refresher"


def add_log_flags(parser: argparse.ArgumentParser) -> None:
    """Declare how to log."""
    group = parser.add_argument_group("logging", "To standard error.")
    group.add_argument(
        "--log-format",
        choices=("auto", "text", "json"),
        help="Default: auto, which is text on a terminal and JSON otherwise. [REFRESHER_LOG_FORMAT]",
    )
    group.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help="Default: info. [REFRESHER_LOG_LEVEL]",
    )


def loaded(arguments: argparse.Namespace, *, command: str, needs: Collection[str]) -> Loaded:
    """The configuration of this call; warnings about it are told on standard error.

    Raises ConfigurationError with every mistake.
    """
    found = load(
        vars(arguments),
        os.environ,
        os.getcwd(),
        needs=needs,
        command=command,
        other_variables=(*LOG_VARIABLES, OWNER_VARIABLE),
    )
    for warning in found.warnings:
        print(f"refresher: warning: {warning}", file=sys.stderr)
    return found


def duration(where: str, text: str) -> float:
    """A duration given by a flag of a command, in seconds. Raises ConfigurationError."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigurationError((Mistake(where, str(error)),)) from error


def configure_log(arguments: argparse.Namespace, secrets: Callable[[], Iterable[SecretStr]]) -> None:
    """Log as flags or variables say, with every one of `secrets` blotted out."""
    log.configure(
        arguments.log_format or os.environ.get("REFRESHER_LOG_FORMAT") or "auto",
        arguments.log_level or os.environ.get("REFRESHER_LOG_LEVEL") or "info",
        sys.stderr,
        secrets,
    )


def issuer(settings: IssuerSettings, clock: Clock, connections: int = 1) -> Issuer:
    """The issuer's client, for so many attempts at once."""
    from refresher.issuer.client import InliveIssuer  # noqa: PLC0415 -- HTTP: not for `wait` and `status`

    return InliveIssuer(settings.url, clock=clock, ca_file=settings.ca_file, pool_size=connections)


class Installation(NamedTuple):
    """An engine with real hands, and how to reach it."""

    engine: Engine
    mailbox: Mailbox[Letter]
    clock: SystemClock
    elector: "Elector | None"


def installation(settings: Settings, observers: Sequence[Observer], horizon: float = 0.0) -> Installation:
    """The engine for these settings, not started yet; `horizon` as in TokenPolicy. Raises ConfigurationError
    and KubeConfigError."""
    clock, mailbox = SystemClock(), Mailbox[Letter]()
    connect = cache(kubernetes)
    elector = _elector(settings.leader_election, connect, clock, mailbox)
    all_charges = charges(settings, horizon, connect, elector)
    minter = issuer(settings.issuer, clock, min(MINTS_AT_ONCE, len(all_charges)))
    engine = Engine(
        all_charges,
        hands=Hands(minter, clock, mailbox, Crew(crew_size(all_charges)), random.random),
        clock=clock,
        mailbox=mailbox,
        observers=observers,
    )
    return Installation(engine, mailbox, clock, elector)


def _elector(
    settings: LeaderElectionSettings | None,
    connect: Callable[[], "KubeApi"],
    clock: Clock,
    mailbox: Mailbox[Letter],
) -> "Elector | None":
    if settings is None:
        return None
    from refresher.core.election import Election, terms_of  # noqa: PLC0415 -- where there is one
    from refresher.kube.elector import Elector  # noqa: PLC0415

    api = connect()
    lease = settings.lease if "/" in settings.lease else f"{api.namespace}/{settings.lease}"
    # The name is for people; the rest makes a restarted process another candidate.
    identity = f"{socket.gethostname()}_{os.urandom(4).hex()}"
    return Elector(api, lease, Election(identity, terms_of(settings.duration)), clock, mailbox)


def crew_size(charges: Iterable[Charge]) -> int:
    """How many threads can ever be of use: for each token its mint and its outputs, and one for the keys."""
    return min(WORKERS, 1 + sum(1 + len(charge.outputs) for charge in charges))


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
    if any(isinstance(output, SecretOutputSettings) for token in settings.tokens for output in token.outputs):
        mistakes = mistakes_of_namespace(connect().namespace, settings.tokens)
        if mistakes:
            raise ConfigurationError(mistakes)
    cluster = Cluster(connect, owner(settings), elector.time_left if elector else lambda: math.inf)
    return [
        _charge(token, settings, keys[token.key_file], cluster, horizon, elected=elector is not None)
        for token in settings.tokens
    ]


def kubernetes() -> "KubeApi":
    """The API server that is configured; it is not asked anything yet. Raises KubeConfigError."""
    from refresher.kube.lean import connect  # noqa: PLC0415 -- for Secrets and leases

    return connect(SystemClock())


def owner(settings: Settings) -> str:
    """What this installation is called in the Secrets that it writes, as [NAMESPACE/]NAME: like the Lease
    that its processes share, or as the environment says."""
    if settings.leader_election is not None:
        return settings.leader_election.lease
    return os.environ.get(OWNER_VARIABLE) or DEFAULT_OWNER


def _charge(  # noqa: PLR0913 -- what one token has of its own, and what it shares with all
    token: TokenSettings, settings: Settings, key: KeyFile, cluster: Cluster, horizon: float, *, elected: bool
) -> Charge:
    outputs = tuple(build(each, settings.issuer.url, cluster) for each in token.outputs)
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


def keep_secrets_in() -> None:
    """No core dump of this process: it would hold the application key."""
    import resource  # noqa: PLC0415 -- for the commands that hold a key

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
