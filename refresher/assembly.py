"""Builds the tokens of the engine from the settings: outputs, hooks, keys, issuer, verifier."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

from refresher.clock import SystemClock
from refresher.config.declarations import AnyIssuer, Settings, TokenSettings
from refresher.config.flags import OWNER_VARIABLE
from refresher.config.json_mint import JsonIssuerSettings
from refresher.config.oauth2 import OAuth2IssuerSettings
from refresher.config.output_kinds import OutputSettings, hook_owed_path, kind_of, secret_names
from refresher.config.rules import problems_of_namespace
from refresher.core.state import OutputPolicy, TokenPolicy
from refresher.errors import ConfigurationError, HookError, Problem
from refresher.executor import MINTS_AT_ONCE
from refresher.keys.keyfile import KeyFile
from refresher.outputs import Cluster, build
from refresher.outputs.directories import Directories
from refresher.outputs.record import DEFAULT_OWNER
from refresher.parts import Parts
from refresher.ports import Clock, Issuer, ManagedToken, Output, Verifier, forever

if TYPE_CHECKING:
    from refresher.hooks import OutputHook
    from refresher.issuer.client import HttpIssuer
    from refresher.kube.api import KubeApi
    from refresher.kube.elector import Elector
    from refresher.outputs.memory import MemoryOutput


def issuer(settings: AnyIssuer, clock: Clock, connections: int = 1) -> Issuer:
    """The issuer's client. `connections`: the number of attempts at once."""
    client = _client(settings, clock, connections)
    if settings.max_rate is not None:
        client.interval = settings.max_rate.interval
    return client


def _client(settings: AnyIssuer, clock: Clock, connections: int) -> "HttpIssuer":
    if isinstance(settings, OAuth2IssuerSettings):
        from refresher.issuer.oauth2 import OAuth2Issuer  # noqa: PLC0415 -- only where wanted

        return OAuth2Issuer(settings.plan, clock, settings.ca_file, connections)
    if isinstance(settings, JsonIssuerSettings):
        from refresher.issuer.json_mint import JsonIssuer  # noqa: PLC0415 -- as above

        return JsonIssuer(settings.plan, clock, settings.ca_file, connections)
    from refresher.issuer.client import InliveIssuer  # noqa: PLC0415 -- HTTP: not for `wait` and `status`

    return InliveIssuer(settings.url, clock=clock, ca_file=settings.ca_file, pool_size=connections)


def verifier(settings: AnyIssuer, connections: int = 1) -> Verifier | None:
    """The verifier of new tokens; None if it is not configured."""
    if settings.verify is None:
        return None
    from refresher.issuer.client import UrlVerifier  # noqa: PLC0415 -- as above

    return UrlVerifier(settings.verify, settings.ca_file, connections)


class Assembly:
    """Builds the managed tokens of a process from its settings, also from changed ones.

    Parts with unchanged settings are the same objects as before, so `Engine.apply` leaves them alone.
    `served`: the outputs of the consumers' listener, by token; empty without that listener. Any thread may
    read it.
    """

    def __init__(
        self,
        clock: Clock,
        connect: "Callable[[], KubeApi]",
        elector: "Elector | None",
        redact: Callable[[str], str],
        horizon: float = 0.0,
    ) -> None:
        self._clock, self.connect, self._elector = clock, connect, elector
        self._redact, self._horizon = redact, horizon
        self._parts = Parts()
        self.served: Mapping[str, MemoryOutput] = {}

    def tokens(
        self, settings: Settings, served: "Mapping[str, MemoryOutput] | None" = None
    ) -> list[ManagedToken]:
        """The tokens of these settings. `served`: outputs in memory, instead of those of `settings.serve`.
        Raises ConfigurationError and KubeConfigError, and then the present parts stay as they are."""
        parts = self._parts
        parts.begin()
        served = served_tokens(settings, parts) if served is None else served
        published = published_tokens(settings, self._horizon, self.connect, self._elector, parts)
        published = [_also_served(token, served) for token in published]
        hooks = hooks_of(settings, published, self._redact, parts)
        managed = managed_tokens(settings, self._clock, published, self._elector, hooks, parts)
        parts.commit()
        self.served = served
        return managed


def served_tokens(settings: Settings, parts: Parts) -> "dict[str, MemoryOutput]":
    """An output for the consumers' listener for each token, by its name."""
    if settings.serve is None:
        return {}
    from refresher.outputs.memory import MemoryOutput  # noqa: PLC0415 -- only where wanted

    return {
        token.name: parts.get(
            (MemoryOutput, token.name, token.key_file, token.serve_refresh_token),
            partial(MemoryOutput, token.name, includes_refresh_token=token.serve_refresh_token),
        )
        for token in settings.tokens
    }


class Published(NamedTuple):
    """The policy and the outputs of a token."""

    policy: TokenPolicy
    outputs: tuple[Output, ...]


def published_tokens(
    settings: Settings,
    horizon: float = 0.0,
    connect: "Callable[[], KubeApi] | None" = None,
    elector: "Elector | None" = None,
    parts: Parts | None = None,
) -> list[Published]:
    """Every token with its outputs. With an `elector`, they are written only while it leads. `parts`: those
    of a former call, to use again.

    All Secrets share one connection to Kubernetes. Raises KubeConfigError, and ConfigurationError if two
    outputs are the same Secret.
    """
    connect = connect or cache(kubernetes)
    if has_secrets(settings):
        problems = problems_of_namespace(connect().namespace, settings.tokens)
        if problems:
            raise ConfigurationError(problems)
    parts = parts or Parts()
    cluster = Cluster(connect, owner(), elector.time_left if elector else forever)
    directories = parts.get(Directories, Directories)
    published = []
    for token in settings.tokens:
        minted_by = settings.issuer_of(token)
        outputs = tuple(
            parts.get(
                adapter_settings(output_settings, minted_by.url),
                partial(build, output_settings, minted_by.url, cluster, directories),
            )
            for output_settings in token.outputs
        )
        policy = policy_of(token, minted_by, outputs)
        published.append(Published(policy._replace(horizon=horizon, elected=elector is not None), outputs))
    return published


def adapter_settings(output: OutputSettings, issuer_url: str) -> tuple[object, ...]:
    """The settings of an output's adapter: not those of its policy and its hook."""
    return type(output), *output._replace(propagation_delay=0.0, after=None), issuer_url


def hooks_of(
    settings: Settings,
    published: Sequence[Published],
    redact: Callable[[str], str],
    parts: Parts | None = None,
) -> "list[tuple[OutputHook, ...]]":
    """The hooks of each token. `redact`: removes secrets from a text. `parts`: see `published_tokens`. Raises
    ConfigurationError with every command that does not exist."""
    parts = parts or Parts()
    hooks: list[tuple[OutputHook, ...]] = []
    problems = []
    for token, (_, outputs) in zip(settings.tokens, published, strict=True):
        found = []
        for wants, output in zip(token.outputs, outputs, strict=False):  # a served token has one more
            if wants.after is None:
                continue
            from refresher.hooks import Subject, build  # noqa: PLC0415 -- only where wanted

            mark = hook_owed_path(wants[0]) if kind_of(type(wants)).is_file else None
            subject = Subject(token.name, output.name)
            make = partial(build, wants.after, subject, mark, redact)
            try:
                found.append(parts.get((type(wants.after), wants.after, subject), make))
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


def policy_of(token: TokenSettings, issuer: AnyIssuer, outputs: Sequence[Output]) -> TokenPolicy:
    """The policy of a token with these outputs, built from its settings in the same order."""
    return TokenPolicy(
        name=token.name,
        lifetime=token.lifetime,
        refresh_at=token.refresh_at,
        timeout=issuer.timeout,
        issuer=issuer.identity,
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
        exclusive=issuer.exclusive,
    )


def managed_tokens(  # noqa: PLR0913 -- all that a token is made of
    settings: Settings,
    clock: Clock,
    published: Sequence[Published],
    elector: "Elector | None",
    hooks: "Sequence[tuple[OutputHook, ...]]",
    parts: Parts | None = None,
) -> list[ManagedToken]:
    """These tokens with their keys, issuers and verifiers. Tokens with the same key file share its reader,
    and tokens of one issuer its client. `parts`: see `published_tokens`."""
    parts = parts or Parts()
    managed = []
    for token, entry, after in zip(settings.tokens, published, hooks, strict=True):
        wants = settings.issuer_of(token)
        key = parts.get((KeyFile, token.key_file), partial(KeyFile, token.key_file))
        server = wants._replace(verify=None, timeout=0.0, max_lifetime=0.0, exclusive=False)
        minter = parts.get((issuer, server), partial(issuer, wants, clock, MINTS_AT_ONCE))
        tester = parts.get((verifier, wants.verify, wants.ca_file), partial(verifier, wants, MINTS_AT_ONCE))
        managed.append(ManagedToken(entry.policy, key, entry.outputs, minter, tester, hooks=after))
    return managed if elector is None else [token._replace(time_left=elector.time_left) for token in managed]


def has_secrets(settings: Settings) -> bool:
    """Whether any output is a Secret."""
    return any(secret_names(token.outputs, home="") for token in settings.tokens)


def kubernetes() -> "KubeApi":
    """The configured API server. Makes no request yet. Raises KubeConfigError."""
    from refresher.kube.lean import connect  # noqa: PLC0415 -- only for Secrets and leases

    return connect(SystemClock())


def owner() -> str:
    """The name of this installation in the Secrets and files that it writes, as [NAMESPACE/]NAME. It does not
    depend on the Lease, so turning leader election on or off does not change the owner."""
    return os.environ.get(OWNER_VARIABLE) or DEFAULT_OWNER
