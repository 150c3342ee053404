"""Codes and advice for problems. The log, the status, `check` and `mint` show the same sentence."""

from collections.abc import Mapping
from enum import StrEnum

from refresher.core.model import Outcome

_NETWORK = "check issuer.url and the way there: name resolution, firewall, proxy, certificate"

ADVICE: Mapping[Outcome, str] = {
    Outcome.OK: "if this lasts, ask the issuer's operator why it repeats its tokens",
    Outcome.KEY_REFUSED: "put a valid key into the key file (for Inlive: create one on its integration page)",
    Outcome.THROTTLED: "if this lasts, let tokens live longer, or mint fewer with this key",
    Outcome.SERVER_ERROR: "if this lasts, ask the issuer's operator",
    Outcome.UNREACHABLE: _NETWORK,
    Outcome.TIMEOUT: _NETWORK,
    Outcome.BAD_RESPONSE: "check issuer.url, issuer.verify (if set), whether the issuer grants the lifetime, "
    "and whether a portal answers in its place",
}


class Code(StrEnum):
    """Problems other than an `Outcome`: the ``code`` of a problem in the status."""

    SAME_TOKEN = "same_token"  # noqa: S105 -- a code. Outcome.OK, but the token is not new
    KEY_UNREADABLE = "key_unreadable"
    NOT_WRITTEN = "not_written"
    NOT_READ = "not_read"
    HELD = "held"  # another process owns the output
    HANGS = "hangs"
    EXPIRED = "expired"
    NO_TOKEN = "no_token"  # noqa: S105 -- a code
    NOT_INSPECTED = "not_inspected"
    HOOK_FAILED = "hook_failed"
    CONFIGURATION_REFUSED = "configuration_refused"
    LEASE_FAILED = "lease_failed"


_RETRIED = "correct this and confirm it with `refresher check`"
_UNSERVED = (
    "solve the other problems of its token; if it has none, start the refresher that writes this output"
)

ADVICE_ON: Mapping[Code, str] = {
    Code.SAME_TOKEN: ADVICE[Outcome.OK],
    Code.KEY_UNREADABLE: _RETRIED,
    Code.NOT_WRITTEN: _RETRIED,
    Code.NOT_READ: _RETRIED,
    Code.HELD: "let only one refresher write this output",
    Code.HANGS: "check the file system or the API server behind it",
    Code.EXPIRED: _UNSERVED,
    Code.NO_TOKEN: _UNSERVED,
    Code.NOT_INSPECTED: "wait some seconds; if this lasts, check the file system or the API server behind it",
    Code.HOOK_FAILED: "correct the hook or what it calls; until then its consumer may use the former token",
    Code.LEASE_FAILED: "check the API server and the Role for the Lease: `refresher check` tests both",
    Code.CONFIGURATION_REFUSED: "correct the file or put the former one back; a restart would fail",
}
