"""How long a token is believed to live. All seconds.

The issuer does not say, so it is what was asked for; a token that happens to be a JWT may say less. Its
signature is not verified: this is a second opinion about time, taken only where it shortens the lifetime.
"""

import base64
import json
import math
import re

LONGEST_TOKEN = 64 * 1024  # characters; more work than that is not spent on any token

# RFC 7519 §3, RFC 7515 §2: base64url without padding, three parts. The last is empty when unsigned.
_JWT = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*")


def believed_lifetime(requested: float, access_token: str) -> float:
    """The lesser of what was asked for and what the token itself says.

    Not positive for a token that says it expires no later than it was issued; `answers.classify` lets none
    such through. Never raises.
    """
    stated = stated_lifetime(access_token)
    return requested if stated is None else min(requested, stated)


def shortened(believed: float, outlived: float | None, shortest: float) -> float:
    """The lifetime of a new token that is `believed` to live so long, when one before it was seen to live no
    longer than `outlived`. Never less than `shortest`, for the sake of the issuer: a report may be wrong."""
    return believed if outlived is None else min(believed, max(outlived, shortest))


def stated_lifetime(access_token: str) -> float | None:
    """``exp - iat`` of a JWT that has both as numbers (RFC 7519 §4.1), None for any other text.

    The difference, so that no clock but ours is ever compared with ours.
    """
    match = _JWT.fullmatch(access_token) if len(access_token) <= LONGEST_TOKEN else None
    if match is None:
        return None
    payload = match[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):  # not base64, UTF-8 or JSON; an integer of thousands of digits
        return None
    if not isinstance(claims, dict):
        return None
    issued, expires = _seconds(claims.get("iat")), _seconds(claims.get("exp"))
    return None if issued is None or expires is None else expires - issued


def _seconds(claim: object) -> float | None:
    """A NumericDate; booleans, texts, NaN and infinities are none."""
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    try:
        seconds = float(claim)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None
