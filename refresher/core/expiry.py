"""How long a token is believed to live. All seconds.

The issuer does not say, so it is what was asked for; a token that happens to be a JWT may say less. Its
signature is not verified: this is a second opinion about time, taken only where it shortens the lifetime.
"""

import base64
import json
import math
import re
from typing import NamedTuple

from refresher.core.values import distinct

LONGEST_TOKEN = 64 * 1024  # characters; more work than that is not spent on any token
SHORTEST_LIFETIME = 30.0  # a token of an hour that lives for less is a mistake of the issuer
CLOCKS_APART = 60.0  # at most, between the servers of an issuer: one signs, another writes the Date header
OUR_CLOCK_OFF = 3600.0  # at most: where an answer has no Date, our own clock has to do

# RFC 7519 §3, RFC 7515 §2: base64url without padding, three parts. The last is empty when unsigned.
_JWT = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*")


class UselessTokenError(Exception):
    """The token's own claims say that it is of no use; the text says why."""


@distinct
class Claims(NamedTuple):
    """The times in a JWT (RFC 7519 §4.1), by the issuer's clock; None for each that is not there."""

    issued: float | None
    expires: float | None
    not_before: float | None


def believed_lifetime(requested: float, access_token: str, date: float | None, now_wall: float) -> float:
    """The lesser of what was `requested` and what the token itself says.

    `date` is the issuer's wall time by the Date header of its answer. Claims are compared with that, so that
    our clock may be wrong; only an answer without one is compared with `now_wall`, generously. Raises
    UselessTokenError for a token that has expired, is not valid yet, or ends long before what was requested.
    """
    claims = claims_of(access_token)
    if claims is None:
        return requested
    lifetime = min(requested, _stated(claims, date, now_wall))
    shortest = min(SHORTEST_LIFETIME, requested / 10)
    if lifetime <= 0:
        raise UselessTokenError("the token has expired already, by its own claims")
    if lifetime < shortest:
        raise UselessTokenError(
            f"the token lives {lifetime:.3g} s by its own claims, which is too short to use; "
            f"{requested:g} s were requested"
        )
    by, apart = (now_wall, OUR_CLOCK_OFF) if date is None else (date, _apart(lifetime))
    if claims.not_before is not None and claims.not_before - by > apart:
        raise UselessTokenError("the token is not valid yet, by its own nbf")
    return lifetime


def _stated(claims: Claims, date: float | None, now_wall: float) -> float:
    """What the claims say of the lifetime from now on; infinite where they do not say."""
    if claims.expires is None:
        return math.inf
    whole = math.inf if claims.issued is None else claims.expires - claims.issued
    if date is None:
        has_ended = claims.expires + OUR_CLOCK_OFF <= now_wall
        return min(whole, 0.0) if has_ended else whole
    left = claims.expires - date
    # ``exp - iat`` is exact. Only a token that was issued well before this answer has less left than that.
    return left if left + _apart(whole) < whole else whole


def _apart(lifetime: float) -> float:
    """How far two clocks of the issuer may be apart, a Date's fraction of a second included."""
    return 1.0 + min(CLOCKS_APART, lifetime / 10)


def shortened(believed: float, observed_lifetime: float | None, shortest: float) -> float:
    """The lifetime to believe of a new token: `believed`, or less if an earlier token expired after
    `observed_lifetime`. Never less than `shortest`: a report may be wrong, and the issuer must not suffer."""
    return believed if observed_lifetime is None else min(believed, max(observed_lifetime, shortest))


def claims_of(access_token: str) -> Claims | None:
    """The times that a JWT states as numbers, None for any other text. Never raises."""
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
    return Claims(
        issued=_seconds(claims.get("iat")),
        expires=_seconds(claims.get("exp")),
        not_before=_seconds(claims.get("nbf")),
    )


def _seconds(claim: object) -> float | None:
    """A NumericDate; booleans, texts, NaN and infinities are none."""
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    try:
        seconds = float(claim)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None
