"""The expected lifetime of a token. All times are seconds.

Expect the requested lifetime, or less if the response states less. If the token is a JWT, its claims may
shorten that. The signature is not verified, because claims can never lengthen the lifetime.
"""

import base64
import json
import math
import re
from typing import NamedTuple

from refresher.core.values import distinct

LONGEST_TOKEN = 64 * 1024  # characters; longer texts are not decoded
SHORTEST_LIFETIME = 30.0  # a shorter lifetime of a token of an hour is a mistake of the issuer
CLOCKS_APART = 60.0  # at most: one server of the issuer signs, another writes the Date header
OUR_CLOCK_OFF = 3600.0  # at most; our clock serves if a response has no Date

# RFC 7519 §3, RFC 7515 §2: base64url without padding, three parts. The last is empty when unsigned.
_JWT = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*")


class UselessTokenError(Exception):
    """By its own claims the token is useless; the text says why."""


@distinct
class Claims(NamedTuple):
    """The times in a JWT (RFC 7519 §4.1), by the issuer's clock; None if absent."""

    issued: float | None
    expires: float | None
    not_before: float | None


def believed_lifetime(
    requested: float, access_token: str, date: float | None, now_wall: float, stated: float = math.inf
) -> float:
    """The shortest of the `requested` lifetime, the one `stated` in the response, and the one in the token's
    claims.

    `date`: the issuer's wall time, from the Date header of its response. Claims are compared with that,
    because our clock may be wrong. Only without a Date are they compared with our `now_wall`, and then
    generously. Raises UselessTokenError if the token has expired, is not valid yet, or ends far too early.
    """
    claims = claims_of(access_token)
    claimed = math.inf if claims is None else _claimed(claims, date, now_wall)
    lifetime = min(requested, stated, claimed)
    source = "its own claims" if claimed <= stated else "the lifetime in the response"
    shortest = min(SHORTEST_LIFETIME, requested / 10)
    if lifetime <= 0:
        raise UselessTokenError(f"the token has expired already, by {source}")
    if lifetime < shortest:
        raise UselessTokenError(
            f"the token lives {lifetime:.3g} s by {source}, which is too short to use; "
            f"{requested:g} s were requested"
        )
    if claims is None:
        return lifetime
    present, tolerance = (now_wall, OUR_CLOCK_OFF) if date is None else (date, _tolerance(lifetime))
    if claims.not_before is not None and claims.not_before - present > tolerance:
        raise UselessTokenError("the token is not valid yet, by its own nbf")
    return lifetime


def _claimed(claims: Claims, date: float | None, now_wall: float) -> float:
    """The lifetime from now on by the claims; infinite if they do not limit it."""
    if claims.expires is None:
        return math.inf
    whole = math.inf if claims.issued is None else claims.expires - claims.issued
    if date is None:
        has_ended = claims.expires + OUR_CLOCK_OFF <= now_wall
        return min(whole, 0.0) if has_ended else whole
    left = claims.expires - date
    # ``exp - iat`` is exact. Only a token issued well before this response has less left.
    return left if left + _tolerance(whole) < whole else whole


def _tolerance(lifetime: float) -> float:
    """How far two clocks of the issuer may differ. A Date has whole seconds, so add one."""
    return 1.0 + min(CLOCKS_APART, lifetime / 10)


def shortened(believed: float, observed_lifetime: float | None, shortest: float) -> float:
    """The expected lifetime of a new token: `believed`, or less if an earlier token expired after
    `observed_lifetime`. Never less than `shortest`: a wrong report must not cause a storm of mints."""
    return believed if observed_lifetime is None else min(believed, max(observed_lifetime, shortest))


def claims_of(access_token: str) -> Claims | None:
    """The numeric times in a JWT; None for any other text. Never raises."""
    match = _JWT.fullmatch(access_token) if len(access_token) <= LONGEST_TOKEN else None
    if match is None:
        return None
    payload = match[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):  # not base64, UTF-8 or JSON, or an integer of thousands of digits
        return None
    if not isinstance(claims, dict):
        return None
    return Claims(
        issued=_seconds(claims.get("iat")),
        expires=_seconds(claims.get("exp")),
        not_before=_seconds(claims.get("nbf")),
    )


def _seconds(claim: object) -> float | None:
    """A NumericDate; None for booleans, texts, NaN and infinities."""
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    try:
        seconds = float(claim)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None
