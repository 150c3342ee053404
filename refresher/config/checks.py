"""The rules between options. No I/O: see `targets` for those about the file system."""

from collections.abc import Iterable

from refresher.config.declarations import FileOutputSettings, SecretOutputSettings, TokenSettings
from refresher.config.durations import format_duration
from refresher.config.findings import Findings
from refresher.config.objects import placed
from refresher.config.sections import MISTAKEN, Draft
from refresher.config.wording import shown
from refresher.core.schedule import margin
from refresher.errors import Mistake


def check_rules(root: Draft, findings: Findings) -> None:
    """Report what is wrong between the options of `root`. One that is mistaken itself is passed over."""
    first_of_name: dict[str, Draft] = {}
    for token in root.drafts("tokens"):
        name = token.get("name")
        first = token if name is MISTAKEN else first_of_name.setdefault(name, token)
        if first is not token:
            other = findings.beside(first.place("name"))
            findings.add(
                token.place("name"), f"{shown(name)} is the name of {other} as well; each token needs its own"
            )
        _check_lifetime(token, root.values["issuer"], findings)
        for output in token.drafts("outputs"):
            check_template(output, findings)
            _check_propagation_delay(output, token, findings)
    election = root.get("leader_election")
    if isinstance(election, Draft):
        for token in root.drafts("tokens"):
            _check_election(election, token, findings)
        serve = root.get("serve")
        if isinstance(serve, Draft):
            beside = findings.beside(election.place("lease"))
            problem = (
                f"serve and leader election, {beside}, exclude each other: a standby has no token to serve"
            )
            findings.add(serve.place("address"), f"{problem}; take one out")


def check_template(output: Draft, findings: Findings) -> None:
    """A template, and format template, are there together or not at all."""
    key = "data" if output.section is SecretOutputSettings else "format"
    given, template = output.get(key), output.get("template")
    if given is MISTAKEN or template is MISTAKEN:
        return
    forms = [given] if key == "format" else list(dict.fromkeys(form for _, form in given))
    if "template" in forms and template is None:
        findings.add(output.place(key), "'template' needs template: the text with $access_token in it")
    if "template" not in forms and template is not None:
        are = f"{'format is' if len(forms) == 1 else 'formats are'} {', '.join(map(repr, forms))}"
        findings.add(output.place("template"), f"is for format 'template', the {are}; take one out")


def _check_lifetime(token: Draft, issuer: Draft, findings: Findings) -> None:
    lifetime, longest = token.get("lifetime"), issuer.get("max_lifetime")
    if lifetime is not MISTAKEN and longest is not MISTAKEN and lifetime > longest:
        findings.add(
            token.place("lifetime"),
            f"{format_duration(lifetime)} is more than issuer.max_lifetime allows; accepted: 10s to "
            f"{format_duration(longest)}, or raise {findings.beside(issuer.place('max_lifetime'))}",
        )


def _check_propagation_delay(output: Draft, token: Draft, findings: Findings) -> None:
    """A token is replaced half a lifetime before its end at the earliest: a consumer slower than that
    would be without (see `refresher.core.schedule.margin`).

    The default of a Secret is only warned of, and stays as long as it is: it tells how slow the kubelet is,
    and the refresher does not know whether these consumers have to do with a kubelet.
    """
    delay, lifetime = output.get("propagation_delay"), token.get("lifetime")
    if delay is MISTAKEN or lifetime is MISTAKEN or delay < lifetime / 2:
        return
    too_long = f"half of the lifetime {format_duration(lifetime)} or more"
    if "propagation_delay" in output.values:
        accepted = f"accepted: less than {format_duration(lifetime / 2)}"
        findings.add(output.place("propagation_delay"), f"{format_duration(delay)} is {too_long}; {accepted}")
    else:
        findings.warn(
            output.place("secret"),
            f"pods that mount it may see a new token {format_duration(delay)} late, {too_long}; write a "
            f"lifetime over {format_duration(2 * delay)}, or as propagation_delay how late your consumers "
            "see it: 0s for those that ask the API server",
        )


def _check_election(election: Draft, token: Draft, findings: Findings) -> None:
    """Only the leader writes, and a file is on one machine: a standby's would be without a token. And a
    standby that takes over when the token is due at last has to be in time for the consumers."""
    beside = findings.beside(election.place("lease"))
    outputs = token.drafts("outputs")
    for output in outputs:
        if output.section is FileOutputSettings and output.get("file") is not MISTAKEN:
            problem = f"a file and leader election, {beside}, exclude each other: a standby writes no file"
            findings.add(output.place("file"), f"{problem}; publish in a Secret, or take leader election out")
    lifetime, duration = token.get("lifetime"), election.get("duration")
    delays = [output.get("propagation_delay") for output in outputs]
    if MISTAKEN in (lifetime, duration, *delays):
        return
    delay = max(delays, default=0.0)
    spare = margin(lifetime, delay) - delay
    if 0 < spare < duration:
        findings.warn(
            token.place("lifetime"),
            f"leaves consumers {format_duration(spare)} when a leader dies in the worst moment, and another "
            f"leads after {format_duration(duration)}; write {format_duration(2 * (delay + duration))} or "
            f"more, or a shorter {findings.beside(election.place('duration'))}",
        )


def mistakes_of_period(every: float, tokens: Iterable[TokenSettings]) -> tuple[Mistake, ...]:
    """Why `once`, called every `every` seconds, could not keep these tokens valid; empty when it can.

    A token must outlive the period and the margin before its end, or it ends between two calls.
    """
    mistakes = []
    for token in tokens:
        delay = max((output.propagation_delay for output in token.outputs), default=0.0)
        spare = margin(token.lifetime, delay)
        if every + spare >= token.lifetime:
            period, lifetime = format_duration(every), format_duration(token.lifetime)
            problem = (
                f'{period} + {format_duration(spare)} margin ≥ lifetime {lifetime} of token "{token.name}"'
            )
            accepted = f"less than {format_duration(token.lifetime - spare)}, or a longer lifetime"
            mistakes.append(Mistake(f"--every {period}", f"{problem}; accepted: {accepted}"))
    return tuple(mistakes)


def mistakes_of_namespace(home: str, tokens: Iterable[TokenSettings]) -> tuple[Mistake, ...]:
    """Which Secrets are one, now that it is known that those without a namespace are in `home`."""
    mistakes = []
    first_of_target: dict[str, str] = {}
    for token in tokens:
        for output in token.outputs:
            if isinstance(output, SecretOutputSettings):
                target = "/".join(placed(output.secret, home))
                if target in first_of_target:
                    problem = (
                        f"is {target}, the target of an output of token {first_of_target[target]!r} as well"
                    )
                    where = f"output {output.secret} of token {token.name!r}"
                    mistakes.append(Mistake(where, f"{problem}; give each its own"))
                first_of_target.setdefault(target, token.name)
    return tuple(mistakes)
