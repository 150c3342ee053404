"""Advice for each way in which minting fails. The log, `check` and `mint` show it."""

from collections.abc import Mapping

from refresher.core.model import Outcome

_NETWORK = "check issuer.url and the way there: name resolution, firewall, proxy, certificate"

ADVICE: Mapping[Outcome, str] = {
    Outcome.OK: "if this lasts, ask Inlive why the issuer repeats its tokens",
    Outcome.KEY_REFUSED: "put a valid key into the key file (create one on Inlive's integration page)",
    Outcome.THROTTLED: "if this lasts, let tokens live longer, or mint fewer with this key",
    Outcome.SERVER_ERROR: "if this lasts, ask Inlive",
    Outcome.UNREACHABLE: _NETWORK,
    Outcome.TIMEOUT: _NETWORK,
    Outcome.BAD_RESPONSE: "check issuer.url, issuer.verify (if set), whether the issuer grants the lifetime, "
    "and whether a portal answers in its place",
}
