"""Turns a response of the API server into an object, or into one of our errors with the server's reason.

The server's reason may quote the request (``expected string, got …``). Secrets in it are masked.
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
    KubeApiMissingError,
    KubeConflictError,
    KubeDeniedError,
    KubeError,
    KubeExpiredError,
    KubeNotFoundError,
    KubeRejectedError,
    KubeThrottledError,
    KubeUnreachableError,
)
from refresher.kube.rbac import permission

JSON = "application/json"
# Objects without anything but their metadata.
# https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches
_METADATA = "application/json;as={};g=meta.k8s.io;v=v1"
METADATA_LIST = _METADATA.format("PartialObjectMetadataList")
METADATA = _METADATA.format("PartialObjectMetadata")
LONGEST_REASON = 500  # characters: longer reasons are cut

# The text of a denial by RBAC. A Role does not help against other 403s: a quota, Pod Security, a terminating
# namespace.
_RBAC = re.compile(r'cannot (?P<verb>get|list|watch|create|update|patch) resource "(?P<resource>[a-z]+)"')
_NO_API_SERVER = "is this an API server that has this API?"
_UNAUTHENTICATED = (
    "the API server does not accept our credentials (401): the service account was deleted, or its token or "
    "the credentials in the kubeconfig have expired"
)
_KINDS: Mapping[int, type[KubeError]] = {
    404: KubeNotFoundError,
    409: KubeConflictError,
    410: KubeExpiredError,
}


Query = tuple[tuple[str, str], ...]


class Request(NamedTuple):
    """A request to the API server."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    content_type: str = JSON
    query: Query = ()
    accept: str = JSON

    @property
    def action(self) -> str:
        """The permission it needs, like ``patch secrets/access-token in namespace studio``."""
        return str(permission(self.method, self.path) or f"{self.method} {self.path}")


def parse(request: Request, response: Response, credential: str | None, now_wall: float) -> dict[str, Any]:
    """The object in `response`, which was received at wall time `now_wall`. `request` carried `credential`.

    Raises a KubeError if the response is no success or no JSON object.
    """
    content = _json_object(response.body)
    if not response.is_success:
        secrets = [*_secrets(request.body or {}), *((credential.split()[-1],) if credential else ())]
        raise _error(request, response, content, secrets, now_wall)
    if content is None:
        problem = f"status {response.status}, but the response is no JSON object: {_NO_API_SERVER}"
        raise KubeUnreachableError(f"{request.action}: {problem}")
    return content


def _error(
    request: Request,
    response: Response,
    content: dict[str, Any] | None,
    secrets: list[str],
    now_wall: float,
) -> KubeError:
    status, action = response.status, request.action
    is_kubernetes = content is not None and content.get("kind") == "Status"
    message = content.get("message") if content is not None and is_kubernetes else None
    message = message if isinstance(message, str) and message else "no reason given"
    reason = shown(message, secrets, LONGEST_REASON)
    if status == 401:
        return KubeDeniedError(f"{action}: {_UNAUTHENTICATED}")
    if status == 403:
        return KubeDeniedError(_denied(request, _RBAC.search(message), reason))
    if status == 429:
        throttled = f"{action}: the API server asks us to wait (429): {reason}"
        return KubeThrottledError(throttled, response.retry_after(now_wall))
    if status >= 500:
        return KubeUnreachableError(f"{action}: the API server failed ({status}): {reason}")
    if not is_kubernetes:
        problem = f"status {status}, but the response is no Status of Kubernetes"
        kind = KubeApiMissingError if status == 404 else KubeRejectedError
        return kind(f"{action}: {problem}: {_NO_API_SERVER}")
    return _KINDS.get(status, KubeRejectedError)(f"{action}: {reason} ({status})")


def _denied(request: Request, by_rbac: re.Match[str] | None, reason: str) -> str:
    """RBAC names the missing verb. For an apply to a missing object, it is "create" and not "patch"."""
    needed = permission(request.method, request.path)
    if by_rbac is None or needed is None or by_rbac["resource"] != needed.resource:
        return f"{request.action}: forbidden (403): {reason}"
    missing = needed._replace(verb=by_rbac["verb"])
    advice = "grant it with a Role (`refresher check` prints one)"
    if (missing.verb, missing.resource) == ("create", "secrets"):
        advice = "the Secret does not exist: create it without data (`refresher check` prints it)"
    return f"not permitted (403): {missing}; {advice}; the API server says: {reason}"


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _secrets(body: Mapping[str, Any]) -> Iterator[str]:
    """Every value in the data of a Secret, encoded and decoded."""
    for field in ("data", "stringData"):
        for value in _texts(body.get(field)):
            yield value
            yield from _decoded(value)


def _texts(values: object) -> Iterator[str]:
    """Every string in `values`, at any depth: the API server quotes malformed data when it rejects it."""
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
