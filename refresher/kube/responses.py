"""What a response of the API server means: an object, or one of our errors with the server's reason.

The server's reason may repeat what it was sent (``expected string, got …``). Parts of a secret are not shown.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from refresher.core.disclosure import shown
from refresher.core.http_response import Response
from refresher.errors import (
    KubeConflictError,
    KubeDeniedError,
    KubeError,
    KubeNotFoundError,
    KubeRejectedError,
    KubeThrottledError,
    KubeUnreachableError,
)
from refresher.kube.rbac import permission

LONGEST_REASON = 500  # characters of the server's reason that are shown

# How RBAC says no. No Role helps against other kinds of 403 (quota, Pod Security, a terminating namespace).
_RBAC = re.compile(r'cannot (?P<verb>get|list|create|update|patch) resource "(?P<resource>[a-z]+)"')
_NO_API_SERVER = "is this an API server, and one that has this API?"
_UNKNOWN = (
    "the API server does not know who we are (401): the service account is gone, or its token, or what is in "
    "the kubeconfig, has expired"
)
_KINDS: Mapping[int, type[KubeError]] = {404: KubeNotFoundError, 409: KubeConflictError}


class Request(NamedTuple):
    """What was asked."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None

    @property
    def wants(self) -> str:
        """In the words of RBAC, like ``patch secrets/access-token in namespace studio``."""
        return str(permission(self.method, self.path) or f"{self.method} {self.path}")


def meaning(request: Request, response: Response, credential: str | None, now_wall: float) -> dict[str, Any]:
    """The object in `response`, which was received at wall time `now_wall`. `request` carried `credential`.

    Raises a KubeError for everything else.
    """
    content = _json_object(response.body)
    if not response.is_success:
        secrets = [*_secrets(request.body or {}), *((credential.split()[-1],) if credential else ())]
        raise _refusal(request, response, content, secrets, now_wall)
    if content is None:
        told = f"{response.status}, but the answer is no JSON object: {_NO_API_SERVER}"
        raise KubeUnreachableError(f"{request.wants}: {told}")
    return content


def _refusal(
    request: Request,
    response: Response,
    content: dict[str, Any] | None,
    secrets: list[str],
    now_wall: float,
) -> KubeError:
    status, wants = response.status, request.wants
    is_kubernetes = content is not None and content.get("kind") == "Status"
    message = content.get("message") if content is not None and is_kubernetes else None
    message = message if isinstance(message, str) and message else "no reason is given"
    reason = shown(message, secrets, LONGEST_REASON)
    if status == 401:
        return KubeDeniedError(f"{wants}: {_UNKNOWN}")
    if status == 403:
        return KubeDeniedError(_denied(request, _RBAC.search(message), reason))
    if status == 429:
        return KubeThrottledError(f"{wants}: asked to wait (429): {reason}", response.retry_after(now_wall))
    if status >= 500:
        return KubeUnreachableError(f"{wants}: the API server has failed ({status}): {reason}")
    if not is_kubernetes:
        return KubeRejectedError(f"{wants}: {status}, but not as Kubernetes says it: {_NO_API_SERVER}")
    return _KINDS.get(status, KubeRejectedError)(f"{wants}: {reason} ({status})")


def _denied(request: Request, by_rbac: re.Match[str] | None, reason: str) -> str:
    """RBAC names the missing verb. It is not that of the request when an apply would create."""
    wanted = permission(request.method, request.path)
    if by_rbac is None or wanted is None or by_rbac["resource"] != wanted.resource:
        return f"{request.wants}: forbidden (403): {reason}"
    missing = wanted._replace(verb=by_rbac["verb"])
    advice = "grant it by a Role, `refresher check` prints one"
    if (missing.verb, missing.resource) == ("create", "secrets"):
        advice = "the Secret does not exist: create it without data, `refresher check` prints it"
    return f"not permitted (403): {missing}; {advice}; the API server says: {reason}"


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _secrets(body: Mapping[str, Any]) -> Iterator[str]:
    """Every value in the data of a Secret, as it is sent and as it is meant."""
    for field in ("data", "stringData"):
        for value in _texts(body.get(field)):
            yield value
            yield from _decoded(value)


def _texts(values: object) -> Iterator[str]:
    """Every text in there, however deep: what is no Secret is refused in words that quote it."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping | list | tuple):
        for value in values.values() if isinstance(values, Mapping) else values:
            yield from _texts(value)


def _decoded(value: str) -> Iterator[str]:
    try:
        yield base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return
