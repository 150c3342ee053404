"""The rules between options. No I/O: see `targets` for those about the file system."""

from collections.abc import Iterable

from refresher.config.declarations import TokenSettings
from refresher.config.durations import format_duration
from refresher.config.findings import Findings
from refresher.config.sections import MISTAKEN, Draft
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
                token.place("name"), f"{name!r} is the name of {other} as well; each token needs its own"
            )
        _check_lifetime(token, root.values["issuer"], findings)
        for output in token.drafts("outputs"):
            check_template(output, findings)
            _check_runway(output, token, findings)


def check_template(output: Draft, findings: Findings) -> None:
    """A template, and format template, are there together or not at all."""
    form, template = output.get("format"), output.get("template")
    if form is MISTAKEN or template is MISTAKEN:
        return
    if form == "template" and template is None:
        findings.add(output.place("format"), "'template' needs template: the text with $access_token in it")
    if form != "template" and template is not None:
        findings.add(
            output.place("template"), f"is for format 'template', the format is {form!r}; take one out"
        )


def _check_lifetime(token: Draft, issuer: Draft, findings: Findings) -> None:
    lifetime, longest = token.get("lifetime"), issuer.get("max_lifetime")
    if lifetime is not MISTAKEN and longest is not MISTAKEN and lifetime > longest:
        findings.add(
            token.place("lifetime"),
            f"{format_duration(lifetime)} is more than issuer.max_lifetime allows; accepted: 10s to "
            f"{format_duration(longest)}, or raise {findings.beside(issuer.place('max_lifetime'))}",
        )


def _check_runway(output: Draft, token: Draft, findings: Findings) -> None:
    """A token is replaced half a lifetime before its end at the earliest: a consumer slower than that
    would be without (see `refresher.core.schedule.margin`)."""
    runway, lifetime = output.get("runway"), token.get("lifetime")
    if runway is not MISTAKEN and lifetime is not MISTAKEN and runway >= lifetime / 2:
        findings.add(
            output.place("runway"),
            f"{format_duration(runway)} is half of the lifetime {format_duration(lifetime)} or more; "
            f"accepted: less than {format_duration(lifetime / 2)}",
        )


def mistakes_of_period(every: float, tokens: Iterable[TokenSettings]) -> tuple[Mistake, ...]:
    """Why `once`, called every `every` seconds, could not keep these tokens valid; empty when it can.

    A token must outlive the period and the margin before its end, or it ends between two calls.
    """
    mistakes = []
    for token in tokens:
        spare = margin(token.lifetime, max((output.runway for output in token.outputs), default=0.0))
        if every + spare >= token.lifetime:
            period, lifetime = format_duration(every), format_duration(token.lifetime)
            problem = (
                f'{period} + {format_duration(spare)} margin ≥ lifetime {lifetime} of token "{token.name}"'
            )
            accepted = f"less than {format_duration(token.lifetime - spare)}, or a longer lifetime"
            mistakes.append(Mistake(f"--every {period}", f"{problem}; accepted: {accepted}"))
    return tuple(mistakes)
