"""Which issuer mints each token: the rules between ``issuer``, ``issuers`` and ``tokens[].issuer``."""

from refresher.config.drafts import INVALID, Draft
from refresher.config.quoting import did_you_mean, shown
from refresher.config.source_map import Problems


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
    in_use = {token.get("issuer") for token in root.drafts("tokens")}
    for name in named.keys() - in_use if INVALID not in in_use else ():
        problems.warn(("issuers", name), "no token has this issuer")


def issuer_of(root: Draft, token: Draft) -> Draft | None:
    """The issuer of this token; None if it is unknown."""
    name = token.get("issuer")
    return root.values["issuer"] if name is None else root.named("issuers").get(name)


def issuers_of(root: Draft) -> dict[str, Draft]:
    """Every issuer by its path in the file."""
    named = {f"issuers.{name}": issuer for name, issuer in root.named("issuers").items()}
    return named or {"issuer": root.values["issuer"]}


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
