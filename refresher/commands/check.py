"""`refresher check`: try everything out that a deployment depends on, and say what to do about a failure."""

import argparse
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from refresher import cli_options, exit_codes, wiring
from refresher.clock import SystemClock
from refresher.commands.status import of_daemon
from refresher.config import flags
from refresher.config.addresses import namespaced
from refresher.config.declarations import IssuerSettings, ListenAddress, Settings
from refresher.config.durations import format_duration
from refresher.config.loader import KEY, OUTPUTS
from refresher.core import schedule
from refresher.core.advice import ADVICE
from refresher.core.keytext import is_like_base64
from refresher.core.model import Declined, MintResult, Outcome, SecretStr, Verdict
from refresher.core.state import TokenPolicy
from refresher.errors import (
    KeyUnreadableError,
    KubeDeniedError,
    KubeError,
    ListenError,
    OutputError,
    OutputHeldError,
    UnreachableDaemonError,
)
from refresher.keys.keyfile import KeyFile
from refresher.ports import Issuer, Output

if TYPE_CHECKING:
    from refresher.kube.api import KubeApi
    from refresher.kube.rbac import Permission

PROOF_LIFETIMES = (1.0, 10.0, 60.0, 600.0)  # seconds; the first that the issuer takes, then the token's own
LEAST_TO_VERIFY = 60.0  # seconds that a token lives that is tried out: no hurry may look like an early end
SKEW_WORTH_TELLING = 5.0  # seconds; harmless to us, but not to whoever reads the times we write

_APPLY = "# For `kubectl apply -f -`, by somebody who may grant this:\n"
_OF_ALL_KEYS = (Outcome.UNREACHABLE, Outcome.TIMEOUT)  # whoever is not there is not there for the next key

EXAMPLE = """\
  refresher check --config /etc/inlive/refresher.yaml
  refresher check --offline --key-file /etc/inlive/key --to-file /var/run/inlive/access-token

Proves each key with a real mint of the shortest lifetime that the issuer takes, and publishes nothing;
--offline leaves the network alone. A hint is worth a look and fails nothing. In Kubernetes, run it as the
service account that the daemon has: the Role and the Secrets that are missing come last, to paste."""


class Finding(NamedTuple):
    """One line of the report. `code` is 0 when all is well, or well enough: a hint. `remedy`: what to paste
    against it, told once after all lines."""

    subject: str
    code: int
    text: str
    is_hint: bool = False
    remedy: str = ""

    def __str__(self) -> str:
        mark = "FAIL" if self.code else "hint" if self.is_hint else "ok"
        return f"{mark:5}{self.subject}: {self.text}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="ask neither the issuer nor Kubernetes")
    flags.add_flags(parser, [group for group in flags.GROUPS if group != "log"])


def run(arguments: argparse.Namespace) -> int:
    found = cli_options.loaded(arguments, command="check", needs=(KEY, OUTPUTS))
    told = []
    for finding in _findings(found.settings, found.config_path, offline=arguments.offline):
        print(finding, flush=True)
        told.append(finding)
    for remedy in dict.fromkeys(finding.remedy for finding in told if finding.remedy):
        print(f"\n{remedy}", end="")
    return exit_codes.gravest(finding.code for finding in told)


def _findings(settings: Settings, path: str | None, *, offline: bool) -> Iterator[Finding]:
    connect = cache(wiring.kubernetes)
    tokens = wiring.published_tokens(settings, connect=connect)  # what stops `run` at its start comes first
    count = len(settings.tokens)
    source = path or "flags and variables"
    yield Finding("configuration", 0, f"{source}, {count} token{'s' if count > 1 else ''}")
    keys: dict[str, SecretStr] = {}
    for key_file in dict.fromkeys(token.key_file for token in settings.tokens):
        yield from _key_findings(KeyFile(key_file), keys)
    if offline:
        yield Finding("issuer", 0, f"{settings.issuer.url} was not asked (--offline)")
    else:
        yield from _issuer_findings(settings, keys)
    if settings.listen is not None:
        yield _listen_finding(settings.listen, {token.name for token in settings.tokens})
    asks_kubernetes = not offline
    if not offline and (wiring.has_secrets(settings) or settings.leader_election is not None):
        asks_kubernetes = yield from _kubernetes_findings(settings, connect())
    for published in tokens:
        for output in published.outputs:
            if asks_kubernetes or output.secret is None:
                yield from _output_findings(output)
            else:
                yield Finding("output", 0, f"{output.name} was not tried", is_hint=True)
        yield _headroom_finding(published.policy)


def _key_findings(source: KeyFile, keys: dict[str, SecretStr]) -> Iterator[Finding]:
    """What there is to say about one key file; the key in it goes into `keys` by its path."""
    try:
        key = keys[source.path] = source.read()
        warning = source.permissions_warning()
    except KeyUnreadableError as error:
        yield Finding("key", exit_codes.CONFIGURATION, str(error))
        return
    yield Finding("key", 0, f"{source.name}, fingerprint {key.fingerprint}")
    if is_like_base64(key):
        text = f"what is in {source.path} looks like base64: if the issuer refuses it, decode it first"
        yield Finding("key", 0, f"{text} (base64 -d; in a Kubernetes Secret: stringData)", is_hint=True)
    if warning:
        yield Finding("key", 0, f"{warning}, unless nobody else gets at its directory", is_hint=True)


def _issuer_findings(settings: Settings, keys: Mapping[str, SecretStr]) -> Iterator[Finding]:
    """What the issuer makes of each of `keys`, which are by path, and how its clock compares with ours."""
    clock = SystemClock()
    url, issuer = settings.issuer.url, wiring.issuer(settings.issuer, clock)
    skew: float | None = None
    for number, (path, key) in enumerate(keys.items(), start=1):
        shortest = min(token.lifetime for token in settings.tokens if token.key_file == path)
        least = LEAST_TO_VERIFY if settings.issuer.verify else 0.0
        result, lifetime = _prove(issuer, key, shortest, settings.issuer.timeout, least)
        skew = result.skew if skew is None else skew
        if not isinstance(result.answer, Declined):
            proof = f"minted a token of {format_duration(lifetime)} to prove it"
            yield Finding("issuer", 0, f"{url} accepted the key in {path}; {proof}")
            yield from _verify_findings(settings.issuer, result.answer.access)
            continue
        outcome = result.answer.outcome
        text = f"{url}, key in {path}: {outcome}: {result.answer.message}; {ADVICE[outcome]}"
        untried = len(keys) - number if outcome in _OF_ALL_KEYS else 0
        more = f"; not tried after that: {untried} more" if untried else ""
        yield Finding("issuer", exit_codes.of_outcome(outcome), text + more)
        if untried:
            break
    if skew is not None:
        yield _clock_finding(skew)


def _prove(
    issuer: Issuer, key: SecretStr, shortest: float, timeout: float, least: float
) -> tuple[MintResult, float]:
    """A mint of the least lifetime that the issuer takes, and that lifetime: from `least` up to `shortest`,
    with which the daemon is going to ask, and as patient as the daemon is then."""
    for lifetime in (*(each for each in PROOF_LIFETIMES if least <= each < shortest), shortest):
        result = issuer.mint(key, lifetime, schedule.attempt_budget(timeout, shortest))
        refused_as_such = (
            isinstance(result.answer, Declined) and result.answer.outcome is Outcome.BAD_RESPONSE
        )
        if not refused_as_such:
            break
    return result, lifetime


def _verify_findings(settings: IssuerSettings, token: SecretStr) -> Iterator[Finding]:
    verifier = wiring.verifier(settings)
    if verifier is None:
        return
    found = verifier.verify(token, settings.timeout)
    says = f"{settings.verify}: {found.verdict}{f': {found.message}' if found.message else ''}"
    if found.verdict is Verdict.REJECTED:
        text = f"{says}; no token would be published: is that a URL which this key's tokens are good for?"
        yield Finding("verify", exit_codes.TRY_AGAIN, text)
    else:
        yield Finding("verify", 0, says, is_hint=found.verdict is not Verdict.GOOD)


def _clock_finding(skew: float) -> Finding:
    if abs(skew) < 1.0:
        return Finding("clock", 0, "within a second of the issuer's")
    ahead = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the issuer's"
    if abs(skew) <= SKEW_WORTH_TELLING:
        return Finding("clock", 0, ahead)
    return Finding("clock", 0, f"{ahead}; see to time synchronisation (chrony, ntpd)", is_hint=True)


def _kubernetes_findings(settings: Settings, api: "KubeApi") -> Generator[Finding, None, bool]:
    """What we may do there of what this configuration needs; whether it is worth while to try a Secret."""
    from refresher.kube import access, rbac  # noqa: PLC0415 -- where there is Kubernetes

    places = [place for token in settings.tokens for place in wiring.secrets(token, api.namespace)]
    needed = [each for place in places for each in rbac.for_secret(*place)]
    creating = {rbac.to_create_secret(*place): place for place in places}
    if settings.leader_election is not None:
        needed += rbac.for_lease(*namespaced(settings.leader_election.lease, api.namespace))
    homes = [namespace for namespace, _ in places] + ([api.namespace] if places and api.pod else [])
    wanted = [each for home in dict.fromkeys(homes) for each in rbac.for_events(home)]
    try:
        lacking = access.missing(api, [*needed, *wanted])
        prepared = [creating[each] for each in access.missing(api, creating)]
        absent = [place for place in prepared if not access.is_there(api, place)]
    except KubeDeniedError as error:
        text = f"what we may do there is not told to us: {error}"
        yield Finding("permissions", 0, f"{text}; whether it suffices is seen below", is_hint=True)
        return True
    except KubeError as error:
        yield Finding("kubernetes", exit_codes.CANT_CREATE, f"{error}; no Secret was tried after that")
        return False
    user = access.user(api)
    yield Finding("kubernetes", 0, f"{api.server}, where we are {user or 'somebody it does not tell'}")
    pasted = (access.empty_secrets(absent), access.role([*needed, *wanted], lacking, user))
    remedy = _APPLY + "---\n".join(filter(None, pasted))
    yield from _permission_findings(lacking, wanted, absent, remedy)
    if prepared and not absent:
        text = "create is not granted, which is safer: a Secret that is deleted must be created again by hand"
        yield Finding("permissions", 0, text)
    return True


def _permission_findings(
    lacking: Sequence["Permission"],
    wanted: Sequence["Permission"],
    absent: Sequence[tuple[str, str]],
    remedy: str,
) -> Iterator[Finding]:
    """About what is not granted, of which the `wanted` can be done without, and about Secrets that are absent
    and not ours to create. `remedy`: the manifests against all of it."""
    fatal = [each for each in lacking if each not in wanted]
    if fatal:
        text = f"not granted: {'; '.join(map(str, fatal))}; a Role that grants it is below"
        yield Finding("permissions", exit_codes.CANT_CREATE, text, remedy=remedy)
    for namespace, name in absent:
        text = (
            f"Secret {namespace}/{name} does not exist, or we cannot see it; an empty one to create is below"
        )
        yield Finding("permissions", exit_codes.CANT_CREATE, text, remedy=remedy)
    if not fatal and not absent:
        yield Finding("permissions", 0, "what it takes to publish is granted")
    for each in lacking:
        if each in wanted:
            text = f"not granted: {each}; trouble is reported in the log only, not as Events"
            yield Finding("permissions", 0, text, is_hint=True, remedy=remedy)


def _listen_finding(address: ListenAddress, tokens: set[str]) -> Finding:
    """Whether a daemon could listen there, or the one of this configuration does."""
    from refresher.http.server.sockets import bind  # noqa: PLC0415 -- only where wanted

    try:
        bind(address.host, address.port).close()
    except ListenError as error:
        host = f"[{address.host}]" if ":" in address.host else address.host or "localhost"
        try:
            answer = of_daemon(f"http://{host}:{address.port}")
        except UnreachableDaemonError:
            return Finding("listen", exit_codes.CONFIGURATION, str(error))
        if {token.get("name") for token in answer["tokens"] if isinstance(token, dict)} != tokens:
            text = f"{error}; it is a refresher with other tokens"
            return Finding("listen", exit_codes.CONFIGURATION, text)
        return Finding("listen", 0, f"the daemon of these tokens runs, on port {address.port}", is_hint=True)
    return Finding("listen", 0, f"port {address.port} is free")


def _output_findings(output: Output) -> Iterator[Finding]:
    try:
        caveats = output.dry_run()
    except OutputHeldError as error:  # the daemon, most likely: nothing else keeps it from being written
        yield Finding("output", 0, str(error), is_hint=True)
    except OutputError as error:
        yield Finding("output", exit_codes.CANT_CREATE, str(error))
    else:
        yield Finding("output", 0, f"{output.name} can be written")
        for caveat in caveats:
            yield Finding("output", 0, f"{output.name}: {caveat}", is_hint=True)


def _headroom_finding(policy: TokenPolicy) -> Finding:
    headroom = schedule.headroom(policy.lifetime, policy.refresh_at, policy.propagation_delay, policy.timeout)
    due = schedule.latest_due_age(policy.lifetime, policy.refresh_at, policy.propagation_delay)
    felt = "no shorter outage of the issuer is felt" if headroom else "every outage of the issuer may be felt"
    return Finding(
        f"token {policy.name}",
        0,
        f"lives {format_duration(policy.lifetime)}, is replaced after {format_duration(round(due))} at the "
        f"latest; headroom {format_duration(round(headroom))}: {felt}",
        is_hint=not headroom,
    )
