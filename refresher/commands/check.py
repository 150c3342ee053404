"""`refresher check`: test everything that a deployment depends on, and report how to fix each failure."""

import argparse
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from refresher import assembly, cli_options, exit_codes
from refresher.clock import SystemClock
from refresher.commands import listening
from refresher.commands.findings import (
    Finding,
    of_clock,
    of_ended,
    of_exclusive,
    of_headroom,
    of_hook,
    of_output,
    of_single_process,
)
from refresher.config import flags
from refresher.config.addresses import namespaced
from refresher.config.declarations import AnyIssuer, Settings, TokenSettings
from refresher.config.durations import format_duration
from refresher.config.loader import KEY, OUTPUTS
from refresher.config.output_kinds import secret_names
from refresher.core import schedule
from refresher.core.advice import ADVICE
from refresher.core.keytext import is_like_base64
from refresher.core.model import Declined, MintResult, Outcome, SecretStr, Verdict
from refresher.errors import (
    KeyUnreadableError,
    KubeDeniedError,
    KubeError,
)
from refresher.keys.keyfile import KeyFile
from refresher.ports import Issuer

if TYPE_CHECKING:
    from refresher.kube.api import KubeApi
    from refresher.kube.rbac import Permission

PROOF_LIFETIMES = (1.0, 10.0, 60.0, 600.0)  # seconds; tried in turn, and last the token's own lifetime
LEAST_TO_VERIFY = 60.0  # seconds; a token sent to verify must not expire during the test
TOLERATED_SKEW = 5.0  # seconds; the refresher copes with more, readers of the times it writes may not

_APPLY = "# For `kubectl apply -f -`, as a user who may grant these permissions:\n"
_FAILS_FOR_ALL_KEYS = (Outcome.UNREACHABLE, Outcome.TIMEOUT)  # the next key would fail in the same way

EXAMPLE = """\
  refresher check --config /etc/inlive/refresher.yaml
  refresher check --offline --key-file /etc/inlive/key --to-file /var/run/inlive/access-token

Proves each key with a real mint of the shortest lifetime that the issuer accepts, and publishes nothing.
At an issuer with exclusive: true this would end the token in use, so only --mint does it.
--offline uses no network. A hint is worth reading, but is not a failure. In Kubernetes, run it with the
daemon's service account. It prints the missing Role and Secrets last, ready to paste."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--offline", action="store_true", help="contact neither the issuer nor Kubernetes")
    how.add_argument(
        "--mint",
        action="store_true",
        help="prove the keys of exclusive issuers too, although that ends the token in use",
    )
    flags.add_flags(parser, [group for group in flags.GROUPS if group != "log"])


def run(arguments: argparse.Namespace) -> int:
    found = cli_options.loaded(arguments, command="check", needs=(KEY, OUTPUTS))
    findings = []
    ways = {"offline": arguments.offline, "ends_tokens": arguments.mint}
    for finding in _findings(found.settings, found.config_path, **ways):
        print(finding, flush=True)
        findings.append(finding)
    for remedy in dict.fromkeys(finding.remedy for finding in findings if finding.remedy):
        print(f"\n{remedy}", end="")
    return exit_codes.gravest(finding.code for finding in findings)


def _findings(settings: Settings, path: str | None, *, offline: bool, ends_tokens: bool) -> Iterator[Finding]:
    connect = cache(assembly.kubernetes)
    tokens = assembly.published_tokens(settings, connect=connect)  # raises what stops `run` at start
    hooks = assembly.hooks_of(settings, tokens, redact=str)
    count = len(settings.tokens)
    source = path or "flags and variables"
    yield Finding("configuration", 0, f"{source}, {count} token{'s' if count > 1 else ''}")
    keys: dict[str, SecretStr] = {}
    for key_file in dict.fromkeys(token.key_file for token in settings.tokens):
        yield from _key_findings(KeyFile(key_file), keys)
    if settings.serve is not None and settings.serve.secret_file is not None:
        yield listening.secret_finding(settings.serve.secret_file)
    for issuer in settings.all_issuers:
        yield from _issuer_findings(settings, issuer, keys, offline=offline, ends_tokens=ends_tokens)
    if settings.listen is not None:
        yield listening.listen_finding(settings.listen, {token.name for token in settings.tokens})
    if settings.serve is not None:
        yield listening.serve_finding(settings.serve)
    asks_kubernetes = not offline
    if not offline and (assembly.has_secrets(settings) or settings.leader_election is not None):
        asks_kubernetes = yield from _kubernetes_findings(settings, connect())
    for published, after in zip(tokens, hooks, strict=True):
        for output in published.outputs:
            if asks_kubernetes or output.secret is None:
                yield from of_output(output)
            else:
                yield Finding("output", 0, f"{output.name} was not tested", is_hint=True)
        yield from (of_hook(hook, offline=offline) for hook in after)
        yield of_headroom(published.policy)


def _key_findings(source: KeyFile, keys: dict[str, SecretStr]) -> Iterator[Finding]:
    """Findings about one key file. Puts its key into `keys`, by path."""
    try:
        key = keys[source.path] = source.read()
        warning = source.permissions_warning()
    except KeyUnreadableError as error:
        yield Finding("key", exit_codes.CONFIGURATION, str(error))
        return
    yield Finding("key", 0, f"{source.name}, fingerprint {key.fingerprint}")
    if is_like_base64(key):
        text = f"the content of {source.path} looks like base64; if the issuer refuses it, decode it first"
        yield Finding("key", 0, f"{text} (base64 -d; in a Kubernetes Secret: stringData)", is_hint=True)
    if warning:
        yield Finding("key", 0, f"{warning}, unless no other user can reach its directory", is_hint=True)


def _issuer_findings(
    settings: Settings, issuer: AnyIssuer, keys: Mapping[str, SecretStr], *, offline: bool, ends_tokens: bool
) -> Iterator[Finding]:
    """Findings about one issuer. `keys`: the readable ones, by path. `ends_tokens`: prove them also if that
    ends the tokens in use."""
    tokens = [token for token in settings.tokens if settings.issuer_of(token) is issuer]
    if offline:
        yield Finding("issuer", 0, f"{issuer.url} was not contacted (--offline)")
    elif issuer.exclusive and not ends_tokens:
        yield of_exclusive(issuer.url)
    else:
        yield from _proof_findings(issuer, tokens, keys)
    if issuer.exclusive and settings.leader_election is None:
        yield from of_single_process(token for token in tokens if secret_names(token.outputs, ""))


def _proof_findings(
    settings: AnyIssuer, tokens: Sequence[TokenSettings], keys: Mapping[str, SecretStr]
) -> Iterator[Finding]:
    """Whether the issuer accepts the keys of its `tokens`, and how far its clock differs from ours. `keys`:
    the readable ones, by path."""
    clock = SystemClock()
    url, issuer = settings.url, assembly.issuer(settings, clock)
    skew: float | None = None
    paths = [path for path in dict.fromkeys(token.key_file for token in tokens) if path in keys]
    for number, path in enumerate(paths, start=1):
        shortest = min(token.lifetime for token in tokens if token.key_file == path)
        least = LEAST_TO_VERIFY if settings.verify else 0.0
        tried = _lifetimes(shortest, least) if settings.requests_lifetime else (shortest,)
        result = _prove(issuer, keys[path], tried, schedule.attempt_budget(settings.timeout, shortest))
        skew = result.skew if skew is None else skew
        if not isinstance(result.answer, Declined):
            proof = f"minted a token of {format_duration(result.answer.lifetime)} to prove it"
            yield Finding("issuer", 0, f"{url} accepted the key in {path}; {proof}")
            if settings.exclusive:
                yield of_ended(url)
            yield from _verify_findings(settings, result.answer.access)
            continue
        outcome = result.answer.outcome
        text = f"{url}, key in {path}: {outcome}: {result.answer.message}; {ADVICE[outcome]}"
        untried = len(paths) - number if outcome in _FAILS_FOR_ALL_KEYS else 0
        more = f"; keys not tried: {untried}" if untried else ""
        yield Finding("issuer", exit_codes.of_outcome(outcome), text + more)
        if untried:
            break
    if skew is not None:
        yield of_clock(skew)


def _lifetimes(shortest: float, least: float) -> tuple[float, ...]:
    """The lifetimes to try, from `least` to `shortest` (seconds), which the daemon asks for."""
    return (*(seconds for seconds in PROOF_LIFETIMES if least <= seconds < shortest), shortest)


def _prove(issuer: Issuer, key: SecretStr, lifetimes: Sequence[float], budget: float) -> MintResult:
    """Mint a token of the first of these lifetimes that the issuer accepts. `budget`: seconds for each
    attempt, as for the daemon's. Returns the last result."""
    for lifetime in lifetimes:
        result = issuer.mint(key, lifetime, budget)
        is_lifetime_refused = (
            isinstance(result.answer, Declined) and result.answer.outcome is Outcome.BAD_RESPONSE
        )
        if not is_lifetime_refused:
            break
    return result


def _verify_findings(settings: AnyIssuer, token: SecretStr) -> Iterator[Finding]:
    verifier = assembly.verifier(settings)
    if verifier is None:
        return
    found = verifier.verify(token, settings.timeout)
    text = f"{settings.verify}: {found.verdict}{f': {found.message}' if found.message else ''}"
    if found.verdict is Verdict.REJECTED:
        advice = "no token would be published; check that this URL accepts the tokens of this key"
        yield Finding("verify", exit_codes.TRY_AGAIN, f"{text}; {advice}")
    else:
        yield Finding("verify", 0, text, is_hint=found.verdict is not Verdict.GOOD)


def _kubernetes_findings(settings: Settings, api: "KubeApi") -> Generator[Finding, None, bool]:
    """Whether we have the permissions that this configuration needs. Returns whether to test the Secrets."""
    from refresher.kube import access, rbac  # noqa: PLC0415 -- only with Kubernetes

    places = [place for token in settings.tokens for place in secret_names(token.outputs, api.namespace)]
    required = [permission for place in places for permission in rbac.for_secret(*place)]
    creating = {rbac.to_create_secret(*place): place for place in places}
    if settings.leader_election is not None:
        required += rbac.for_lease(*namespaced(settings.leader_election.lease, api.namespace))
    namespaces = [namespace for namespace, _ in places] + ([api.namespace] if places and api.pod else [])
    optional = [
        permission for namespace in dict.fromkeys(namespaces) for permission in rbac.for_events(namespace)
    ]
    try:
        missing = access.missing(api, [*required, *optional])
        not_creatable = [creating[permission] for permission in access.missing(api, creating)]
        absent = [place for place in not_creatable if not access.is_there(api, place)]
    except KubeDeniedError as error:
        text = f"cannot list our own permissions: {error}"
        yield Finding("permissions", 0, f"{text}; the outputs below show whether they suffice", is_hint=True)
        return True
    except KubeError as error:
        yield Finding("kubernetes", exit_codes.CANT_CREATE, f"{error}; no Secret was tested")
        return False
    user = access.user(api)
    yield Finding("kubernetes", 0, f"{api.server}, authenticated as {user or 'an unknown user'}")
    manifests = (access.empty_secrets(absent), access.role([*required, *optional], missing, user))
    remedy = _APPLY + "---\n".join(filter(None, manifests))
    yield from _permission_findings(missing, optional, absent, remedy)
    if not_creatable and not absent:
        text = "create is not granted, which is safer; if a Secret is deleted, create it again by hand"
        yield Finding("permissions", 0, text)
    return True


def _permission_findings(
    missing: Sequence["Permission"],
    optional: Sequence["Permission"],
    absent: Sequence[tuple[str, str]],
    remedy: str,
) -> Iterator[Finding]:
    """Findings about missing permissions, and about absent Secrets (namespace, name) that we may not create.

    `optional`: permissions that publishing does not need. `remedy`: manifests that fix all of it.
    """
    fatal = [permission for permission in missing if permission not in optional]
    if fatal:
        text = f"not granted: {'; '.join(map(str, fatal))}; a Role that grants it is below"
        yield Finding("permissions", exit_codes.CANT_CREATE, text, remedy=remedy)
    for namespace, name in absent:
        text = (
            f"Secret {namespace}/{name} does not exist, or we cannot see it; an empty one to apply is below"
        )
        yield Finding("permissions", exit_codes.CANT_CREATE, text, remedy=remedy)
    if not fatal and not absent:
        yield Finding("permissions", 0, "every permission needed to publish is granted")
    for permission in missing:
        if permission in optional:
            text = f"not granted: {permission}; failures are reported in the log only, not as Events"
            yield Finding("permissions", 0, text, is_hint=True, remedy=remedy)
