"""What to do about an issuer that gives no token: one answer, in the log, in `check` and in `mint`."""

from collections.abc import Mapping

from refresher.core.model import Outcome

_IN_BETWEEN = "is issuer.url right, and what is in between: name resolution, firewall, proxy, certificate?"

ADVICE: Mapping[Outcome, str] = {
    Outcome.OK: "if this lasts, ask Inlive why it repeats itself",
    Outcome.KEY_REFUSED: "put a valid key into the key's file (Inlive's integration page makes one)",
    Outcome.THROTTLED: "if this lasts, let tokens live longer, or mint fewer with this key",
    Outcome.SERVER_ERROR: "if this lasts, ask Inlive",
    Outcome.UNREACHABLE: _IN_BETWEEN,
    Outcome.TIMEOUT: _IN_BETWEEN,
    Outcome.BAD_RESPONSE: "is issuer.url (and issuer.verify, if set) right, does the issuer grant the "
    "lifetime, or does a portal answer?",
}
