"""Builds the engine and its adapters from the settings, for all commands."""

import math
import os
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from refresher.clock import SystemClock
from refresher.config.addresses import namespaced
from refresher.config.declarations import IssuerSettings, LeaderElectionSettings, Settings, TokenSettings
from refresher.config.flags import OWNER_VARIABLE
from refresher.config.output_kinds import hook_owed_path, kind_of, secret_names
from refresher.config.rules import problems_of_namespace
from refresher.core.state import OutputPolicy, TokenPolicy
from refresher.engine import Engine
from refresher.errors import ConfigurationError, HookError, Problem
from refresher.executor import KEYS, LIMITS, MINTS_AT_ONCE, POLLS, Executor
from refresher.keys.keyfile import KeyFile
from refresher.logs.redaction import SecretIndex
from refresher.outputs import Cluster, build
from refresher.outputs.directories import Directories
from refresher.outputs.record import DEFAULT_OWNER
from refresher.ports import Clock, Issuer, ManagedToken, Message, Observer, Output, Verifier
from refresher.workers import Mailbox, Workers

if TYPE_CHECKING:
    from refresher.hooks import OutputHook
    from refresher.kube.api import KubeApi
    from refresher.kube.elector import Elector
    from refresher.kube.events import EventRecorder
    from refresher.outputs.memory import MemoryOutput


def issuer(settings: IssuerSettings, clock: Clock, connections: int = 1) -> Issuer:
    """The issuer's client. `connections`: the number of attempts at once."""
    from refresher.issuer.client import InliveIssuer  # noqa: PLC0415 -- HTTP: not for `wait` and `status`

    return InliveIssuer(settings.url, clock=clock, ca_file=settings.ca_file, pool_size=connections)


def verifier(settings: IssuerSettings, connections: int = 1) -> Verifier | None:
    """The verifier of new tokens; None if it is not configured."""
    if settings.verify is None:
        return None
    from refresher.issuer.client import UrlVerifier  # noqa: PLC0415 -- as above

    return UrlVerifier(settings.verify, settings.ca_file, connections)


class Runtime(NamedTuple):
    """An engine with a real executor, and the parts that commands use directly."""

    engine: Engine
    workers: Workers
    secrets: SecretIndex
    mailbox: Mailbox[Message]
    clock: SystemClock
    elector: "Elector | None"
    events: "EventRecorder | None"


def served_tokens(settings: Settings) -> "dict[str, MemoryOutput]":
    """An output for the consumers' listener for each token, by its name."""
    if settings.serve is None:
        return {}
    from refresher.outputs.memory import MemoryOutput  # noqa: PLC0415 -- only where wanted

    return {
        token.name: MemoryOutput(token.name, includes_refresh_token=token.serve_refresh_token)
        for token in settings.tokens
    }


def installation(
    settings: Settings,
    observers: Sequence[Observer],
    horizon: float = 0.0,
    served: "Mapping[str, MemoryOutput] | None" = None,
) -> Runtime:
    """The engine for these settings, not started yet. `horizon`: see `TokenPolicy`; `served`: see
    `served_tokens`. Raises ConfigurationError and KubeConfigError."""
    clock, mailbox, index = SystemClock(), Mailbox[Message](), SecretIndex()
    connect = cache(kubernetes)
    elector = _elector(settings.leader_election, connect, clock, mailbox)
    published = [_also_served(each, served) for each in published_tokens(settings, horizon, connect, elector)]
    tokens = managed_tokens(
        settings, clock, published, elector, hooks_of(settings, published, index.blot_out)
    )
    events = _events(settings, connect, lambda token: secrets_of(engine.managed(token)))
    workers = Workers({name: limit.pool for name, limit in LIMITS.items()} | {KEYS: POLLS})
    engine = Engine(
        tokens,
        executor=Executor(clock, mailbox, workers, random.random),
        clock=clock,
        mailbox=mailbox,
        observers=[*observers, events] if events else observers,
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
    api = connect()  # before the import of the Kubernetes client
    from refresher.core.election import Election, timing_of  # noqa: PLC0415 -- only with an election
    from refresher.kube.elector import Elector  # noqa: PLC0415

    lease = "/".join(namespaced(settings.lease, api.namespace))
    # The host name is for people. The random part makes a restarted process a new candidate.
    identity = f"{socket.gethostname()}_{os.urandom(4).hex()}"
    return Elector(api, lease, Election(identity, timing_of(settings.duration)), clock, mailbox)


def _events(
    settings: Settings,
    connect: Callable[[], "KubeApi"],
    secrets: Callable[[str], Mapping[str, tuple[str, str]]],
) -> "EventRecorder | None":
    if not has_secrets(settings):
        return None
    api = connect()  # before the import, as above
    from refresher.kube.events import EventRecorder  # noqa: PLC0415 -- only with Secrets

    return EventRecorder(api, secrets)


def secrets_of(managed: ManagedToken | None) -> dict[str, tuple[str, str]]:
    """Namespace and name of each Secret with this token, by the name of the output."""
    return {output.name: output.secret for output in managed.outputs if output.secret} if managed else {}


def has_secrets(settings: Settings) -> bool:
    """Whether any output is a Secret."""
    return any(secret_names(token.outputs, home="") for token in settings.tokens)


class Published(NamedTuple):
    """The policy and the outputs of a token."""

    policy: TokenPolicy
    outputs: tuple[Output, ...]


def published_tokens(
    settings: Settings,
    horizon: float = 0.0,
    connect: "Callable[[], KubeApi] | None" = None,
    elector: "Elector | None" = None,
) -> list[Published]:
    """Every token with its outputs. With an `elector`, they are written only while it leads.

    All Secrets share one connection to Kubernetes. Raises KubeConfigError, and ConfigurationError if two
    outputs are the same Secret.
    """
    connect = connect or cache(kubernetes)
    if has_secrets(settings):
        problems = problems_of_namespace(connect().namespace, settings.tokens)
        if problems:
            raise ConfigurationError(problems)
    cluster = Cluster(connect, owner(), elector.time_left if elector else lambda: math.inf)
    directories = Directories()
    published = []
    for token in settings.tokens:
        outputs = tuple(
            build(output_settings, settings.issuer.url, cluster, directories)
            for output_settings in token.outputs
        )
        policy = _policy(token, settings.issuer, outputs)
        published.append(Published(policy._replace(horizon=horizon, elected=elector is not None), outputs))
    return published


def hooks_of(
    settings: Settings, published: Sequence[Published], redact: Callable[[str], str]
) -> "list[tuple[OutputHook, ...]]":
    """The hooks of each token. `redact`: removes secrets from a text. Raises ConfigurationError with every
    command that does not exist."""
    hooks: list[tuple[OutputHook, ...]] = []
    problems = []
    for token, (_, outputs) in zip(settings.tokens, published, strict=True):
        found = []
        for wants, output in zip(token.outputs, outputs, strict=False):  # a served token has one more
            if wants.after is None:
                continue
            from refresher.hooks import Subject, build  # noqa: PLC0415 -- only where wanted

            mark = hook_owed_path(wants[0]) if kind_of(type(wants)).is_file else None
            try:
                found.append(build(wants.after, Subject(token.name, output.name), mark, redact))
            except HookError as error:
                problems.append(Problem(f"after, of {output.name} of token {token.name!r}", str(error)))
        hooks.append(tuple(found))
    if problems:
        raise ConfigurationError(tuple(problems))
    return hooks


def _also_served(published: Published, served: "Mapping[str, MemoryOutput] | None") -> Published:
    """The token with the output that the consumers' listener serves from."""
    policy, outputs = published
    output = (served or {}).get(policy.name)
    if output is None:
        return published
    wants = OutputPolicy(output.name, 0.0, output.includes_refresh_token)
    return Published(policy._replace(outputs=(*policy.outputs, wants)), (*outputs, output))


def _policy(token: TokenSettings, issuer: IssuerSettings, outputs: Sequence[Output]) -> TokenPolicy:
    return TokenPolicy(
        name=token.name,
        lifetime=token.lifetime,
        refresh_at=token.refresh_at,
        timeout=issuer.timeout,
        issuer=issuer.url,
        outputs=tuple(
            OutputPolicy(
                output.name,
                output_settings.propagation_delay,
                output.includes_refresh_token,
                has_hook=output_settings.after is not None,
            )
            for output, output_settings in zip(outputs, token.outputs, strict=True)
        ),
        verifies=issuer.verify is not None,
    )


def managed_tokens(
    settings: Settings,
    clock: Clock,
    published: Sequence[Published],
    elector: "Elector | None",
    hooks: "Sequence[tuple[OutputHook, ...]]",
) -> list[ManagedToken]:
    """These tokens with their keys, issuer and verifier. Tokens with the same key file share its reader."""
    keys = {token.key_file: KeyFile(token.key_file) for token in settings.tokens}
    attempts = min(MINTS_AT_ONCE, len(published))
    minter, tester = issuer(settings.issuer, clock, attempts), verifier(settings.issuer, attempts)
    managed = [
        ManagedToken(entry.policy, keys[token.key_file], entry.outputs, minter, tester, hooks=after)
        for token, entry, after in zip(settings.tokens, published, hooks, strict=True)
    ]
    return managed if elector is None else [token._replace(time_left=elector.time_left) for token in managed]


def kubernetes() -> "KubeApi":
    """The configured API server. Makes no request yet. Raises KubeConfigError."""
    from refresher.kube.lean import connect  # noqa: PLC0415 -- only for Secrets and leases

    return connect(SystemClock())


def owner() -> str:
    """The name of this installation in the Secrets and files that it writes, as [NAMESPACE/]NAME. It does not
    depend on the Lease, so turning leader election on or off does not change the owner."""
    return os.environ.get(OWNER_VARIABLE) or DEFAULT_OWNER
