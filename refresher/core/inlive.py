"""Inlive's wire format: a mint request, its response, and the object that the official JavaScript SDK takes.

The client, the emulator and the format ``inlive-sdk`` use this module. Each fact names its source: [doc] is
Inlive's page "API Authentication", [sdk] is the SDK 0.21.4.
"""

import math
from collections.abc import Mapping

MINT_PATH = "/v1/keys/accesstoken"  # POST [doc]
EXPIRY_SECONDS = "expiry_seconds"  # the one field of a mint request [doc]
DEFAULT_EXPIRY = 3600  # seconds, if a request does not say [doc]
EXPIRED_HEADER = "X-Access-Token-Expired"  # with a 403 [doc]; only its presence counts [sdk]


def mint_request(lifetime: float) -> dict[str, int]:
    """The body of a mint request, in whole seconds, rounded up."""
    return {EXPIRY_SECONDS: math.ceil(lifetime)}


def envelope(status: int, message: str, data: object = None) -> dict[str, object]:
    """The body of every response [sdk]."""
    return {"code": status, "ok": 200 <= status < 300, "message": message, "data": data}


def issued(access: str, refresh: str) -> dict[str, str]:
    """``data`` in the envelope of a successful mint [sdk]."""
    return {"access_token": access, "refresh_token": refresh}


def issued_tokens(data: Mapping[str, object]) -> tuple[object, object]:
    """The access token and the refresh token in ``data``, of any type; None if missing."""
    return data.get("access_token"), data.get("refresh_token")


def sdk_auth(issuer_url: str, access: str, refresh: str, expiry_seconds: int) -> dict[str, object]:
    """The object that the SDK's ``createAuth()`` returns and ``room.setAuth()`` takes [sdk].

    The SDK requests ``expirySeconds`` at its own next mint, so pass the requested lifetime, not the time
    left. A missing refresh token is an empty text.
    """
    data = {"accessToken": access, "refreshToken": refresh, "expirySeconds": expiry_seconds}
    return {"url": issuer_url.rstrip("/") + MINT_PATH, **envelope(200, "", data)}


def sdk_tokens(document: object) -> tuple[object, object] | None:
    """The access token and the refresh token in a document from `sdk_auth`; None for any other document."""
    match document:
        case {"data": {"accessToken": access, "refreshToken": refresh}}:
            return access, refresh
    return None
