"""`refresher check`: try everything out that a deployment depends on, and say what to do about a failure."""

import argparse
from collections.abc import Iterator
from typing import NamedTuple

from refresher import assembly, exits
from refresher.clock import SystemClock
from refresher.config import flags
from refresher.config.declarations import Settings
from refresher.config.durations import format_duration
from refresher.config.overrides import KEY, OUTPUTS
from refresher.core import schedule
from refresher.core.model import Declined, MintResult, Outcome, SecretStr
from refresher.errors import KeyUnreadableError, OutputError
from refresher.hands import Charge
from refresher.issuer.client import InliveIssuer

PROOF_LIFETIMES = (1.0, 10.0, 60.0, 600.0, 3600.0)  # seconds; the first that the issuer takes
SKEW_WORTH_TELLING = 5.0  # seconds; harmless to us, but not to whoever reads the times we write

EXAMPLE = """\
  refresher check --config /etc/inlive/refresher.yaml
  refresher check --offline --key-file /etc/inlive/key --to-file /var/run/inlive/access-token

Proves each key with a real mint of the shortest lifetime that the issuer takes, and publishes nothing;
--offline leaves the network alone."""


class Finding(NamedTuple):
    """One line of the report. `code` is 0 when all is well."""

    subject: str
    code: int
    text: str

    def __str__(self) -> str:
        return f"{'FAIL' if self.code else 'ok':5}{self.subject}: {self.text}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="do not ask the issuer")
    flags.add_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    assembly.keep_secrets_in()
    found = assembly.loaded(arguments, command="check", needs=(KEY, OUTPUTS))
    codes = []
    for finding in _findings(found.settings, found.config_path, offline=arguments.offline):
        print(finding, flush=True)
        codes.append(finding.code)
    return exits.gravest(codes)


def _findings(settings: Settings, path: str | None, *, offline: bool) -> Iterator[Finding]:
    count = len(settings.tokens)
    yield Finding("configuration", 0, f"{path or 'flags'}, {count} token{'s' if count > 1 else ''}")
    charges = assembly.charges(settings)
    keys: dict[str, SecretStr] = {}
    for source in {charge.key.name: charge.key for charge in charges}.values():
        try:
            keys[source.name] = source.read()
        except KeyUnreadableError as error:
            yield Finding("key", exits.CONFIGURATION, str(error))
        else:
            yield Finding("key", 0, f"{source.name}, fingerprint {keys[source.name].fingerprint}")
    if offline:
        yield Finding("issuer", 0, f"{settings.issuer.url} was not asked (--offline)")
    else:
        issuer = assembly.issuer(settings.issuer, SystemClock())
        for name, key in keys.items():
            yield from _issuer_findings(issuer, settings, name, key)
    for charge in charges:
        yield from _token_findings(charge)


def _issuer_findings(
    issuer: InliveIssuer, settings: Settings, name: str, key: SecretStr
) -> Iterator[Finding]:
    result, lifetime = _prove(issuer, key, settings.issuer.timeout)
    url = settings.issuer.url
    if isinstance(result.answer, Declined):
        code = exits.of_outcome(result.answer.outcome)
        yield Finding("issuer", code, f"{url}, {name}: {result.answer.outcome}: {result.answer.message}")
        return
    yield Finding(
        "issuer", 0, f"{url} accepted {name}; minted a token of {format_duration(lifetime)} to prove it"
    )
    if result.skew is not None:
        ahead = f"{abs(result.skew):.0f} s {'ahead of' if result.skew > 0 else 'behind'} the issuer's"
        doubt = (
            "; see to time synchronisation (chrony, ntpd)" if abs(result.skew) > SKEW_WORTH_TELLING else ""
        )
        yield Finding("clock", 0, ahead + doubt)


def _prove(issuer: InliveIssuer, key: SecretStr, timeout: float) -> tuple[MintResult, float]:
    """A mint of the shortest lifetime that the issuer takes, and that lifetime."""
    for lifetime in PROOF_LIFETIMES:
        result = issuer.mint(key, lifetime, timeout)
        refused_as_such = (
            isinstance(result.answer, Declined) and result.answer.outcome is Outcome.BAD_RESPONSE
        )
        if not refused_as_such:
            break
    return result, lifetime


def _token_findings(charge: Charge) -> Iterator[Finding]:
    policy = charge.policy
    for output in charge.outputs:
        try:
            output.rehearse()
        except OutputError as error:
            yield Finding("output", exits.CANT_CREATE, str(error))
        else:
            yield Finding("output", 0, f"{output.name} can be written")
    headroom = schedule.headroom(policy.lifetime, policy.refresh_at, policy.runway, policy.timeout)
    due = schedule.latest_due_age(policy.lifetime, policy.refresh_at, policy.runway)
    yield Finding(
        f"token {policy.name}",
        0,
        f"lives {format_duration(policy.lifetime)}, is replaced after {format_duration(round(due))} at the "
        f"latest; headroom {format_duration(round(headroom))}: no shorter outage of the issuer is felt",
    )
