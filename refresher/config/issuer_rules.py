"""Which issuer mints each token: the rules between ``issuer``, ``issuers`` and ``tokens[].issuer``."""

from math import ceil

from refresher.config.drafts import INVALID, Draft
from refresher.config.issuers import IssuerSettings
from refresher.config.json_mint import JsonIssuerSettings, sends
from refresher.config.options import first_of, options_of
from refresher.config.quoting import did_you_mean, shown
from refresher.config.source_map import Problems
from refresher.core.formats import Format, includes_refresh_token
from refresher.core.schedule import due_age


def choose_issuers(root: Draft, problems: Problems) -> None:
    """Give each token the name of its issuer, if issuers have names. Report names that are wrong or missing,
    and warn of issuers without a token."""
    if root.get("issuers") is INVALID:
        return
    named = root.named("issuers")
    _check_alternatives(root.values["issuer"], named, problems)
    for token in root.drafts("tokens"):
        name = token.get("issuer")
        if name is None and len(named) == 1:
            [token.values["issuer"]] = named
        elif name is None and named:
            problems.add(token.place("issuer"), f"is missing; accepted: {', '.join(named)}")
        elif name is not None and name is not INVALID and name not in named:
            problems.add(token.place("issuer"), _unknown(name, named))
            token.values["issuer"] = INVALID
    for issuer in issuers_of(root).values():
        _check_key_is_sent(issuer, problems)
        _check_verify(issuer, problems)
    _check_clients(root, problems)
    for token in root.drafts("tokens"):
        _check_formats(token, issuer_of(root, token), problems)
    in_use = {token.get("issuer") for token in root.drafts("tokens")}
    for name in named.keys() - in_use if INVALID not in in_use else ():
        problems.warn(("issuers", name), "no token has this issuer")
    for path, issuer in issuers_of(root).items():
        _check_rate(root, issuer, path, problems)


def issuer_of(root: Draft, token: Draft) -> Draft | None:
    """The issuer of this token; None if it is unknown."""
    name = token.get("issuer")
    return root.values["issuer"] if name is None else root.named("issuers").get(name)


def issuers_of(root: Draft) -> dict[str, Draft]:
    """Every issuer by its path in the file."""
    named = {f"issuers.{name}": issuer for name, issuer in root.named("issuers").items()}
    return named or {"issuer": root.values["issuer"]}


def _check_key_is_sent(issuer: Draft, problems: Problems) -> None:
    if issuer.section is not JsonIssuerSettings:
        return
    headers, body = issuer.get("headers"), issuer.get("json")
    if INVALID not in (headers, body) and not sends("key", headers, body):
        example = "headers: {authorization: Bearer $key}"
        problems.add(
            issuer.place("mint"), f"no request contains $key; write it in headers or json: {example}"
        )


def _check_verify(issuer: Draft, problems: Problems) -> None:
    if issuer.get("exclusive") is True and issuer.get("verify") is not None:
        why = "a new token is published at once, because the old one has ended"
        problems.add(issuer.place("verify"), f"excludes exclusive: {why}; take one out")


def _check_clients(root: Draft, problems: Problems) -> None:
    """Tokens of one client at an exclusive issuer would end each other."""
    first_of_client: dict[tuple[object, object], Draft] = {}
    for token in root.drafts("tokens"):
        issuer = issuer_of(root, token)
        if issuer is None or issuer.get("exclusive") is not True:
            continue
        has_id = "client_id" in options_of(issuer.section)
        what = "client_id" if has_id else "key_file"
        client = issuer.get(first_of(issuer.section).key), (issuer if has_id else token).get(what)
        first = token if INVALID in client else first_of_client.setdefault(client, token)
        if first is not token:
            other = problems.reference(first.place("name"))
            problems.add(
                token.place("name"),
                f"has the same exclusive issuer and {what} as {other}: each of their new tokens would end "
                "the other; list all outputs in one token",
            )


def _check_formats(token: Draft, issuer: Draft | None, problems: Problems) -> None:
    """Only Inlive gives the refresh token that some formats contain, and that can be served."""
    if issuer is None or issuer.section is IssuerSettings:
        return
    if token.get("serve_refresh_token") is True:
        text = "the issuer of this token gives no refresh token; take this line out"
        problems.add(token.place("serve_refresh_token"), text)
    for output in token.drafts("outputs"):
        template = output.get("template")
        for key, option in options_of(output.section).items():
            if key not in ("format", "data") or output.get(key) is INVALID:
                continue
            for name in option.value_type.choices(output.get(key)):
                if includes_refresh_token(Format(name, template if isinstance(template, str) else None)):
                    text = f"{name!r} needs a refresh token, and the issuer of this token gives none"
                    problems.add(output.place(key), f"{text}; write another format")


def _check_rate(root: Draft, issuer: Draft, path: str, problems: Problems) -> None:
    """Warn if the tokens of this issuer need more requests than `max_rate` allows."""
    rate = issuer.get("max_rate")
    if rate is None or rate is INVALID:
        return
    tokens = [token for token in root.drafts("tokens") if issuer_of(root, token) is issuer]
    pairs = [(token.get("lifetime"), token.get("refresh_at")) for token in tokens]
    if any(INVALID in pair for pair in pairs):
        return
    needed = sum(1 / due_age(*pair, propagation_delay=0.0, jitter=0.5) for pair in pairs)  # a second
    if needed * rate.interval > 1:
        problems.warn(
            issuer.place("max_rate"),
            f"{rate} is too slow: the {len(pairs)} tokens of {path} need {ceil(needed * 60)}/min; allow "
            "more, or write a longer lifetime",
        )


def _check_alternatives(issuer: Draft, named: dict[str, Draft], problems: Problems) -> None:
    if named:
        text = f"is for one issuer, and there are issuers: {', '.join(named)}; write it there"
        for place in dict.fromkeys(issuer.place(attribute) for attribute in issuer.values):
            problems.add(place, text)


def _unknown(name: str, named: dict[str, Draft]) -> str:
    if not named:
        return f"{shown(name)} is not declared; write it under issuers, or take this line out"
    meant = did_you_mean(name, named) or ";"
    return f"{shown(name)} is not one of issuers{meant} accepted: {', '.join(named)}"
