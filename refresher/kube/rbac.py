"""RBAC permissions: the permission for a request, and the permissions for each use of the API server."""

import re
from typing import NamedTuple

from refresher.core.values import distinct

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}
# https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/[^/]+(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?"
)


@distinct
class Permission(NamedTuple):
    """A permission that RBAC grants. `group` is "" for the core API. Without a `name` it covers every object
    of the resource. A "create" by POST has none, because RBAC does not see the name of the new object."""

    verb: str  # "get", "create", "patch", "update"
    resource: str  # "secrets", "leases", "events"
    namespace: str
    name: str = ""
    group: str = ""  # "", "coordination.k8s.io"

    def __str__(self) -> str:
        """Like ``patch secrets/access-token in namespace studio``."""
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {kind}{f'/{self.name}' if self.name else ''}{where}"


def permission(method: str, path: str) -> Permission | None:
    """The permission that this request needs; None if the path names no resource."""
    found = _PATH.fullmatch(path)
    if found is None or method not in _VERBS:
        return None
    parts = {part: found[part] or "" for part in ("resource", "namespace", "name", "group")}
    verb = "list" if method == "GET" and not parts["name"] else _VERBS[method]
    return Permission(verb, **parts)


def for_secret(namespace: str, name: str) -> tuple[Permission, ...]:
    """The permissions to publish a token in this Secret, once it exists."""
    return tuple(Permission(verb, "secrets", namespace, name) for verb in ("get", "patch"))


def to_create_secret(namespace: str, name: str) -> Permission:
    """The permission to create this Secret. RBAC sees its name, because the path of an apply contains it
    (k8s.io/apiserver, handlers/patch.go: createAuthorizerAttributes).

    It is not part of `for_secret`, because RBAC does not see the type of a Secret. Its holder could create a
    Secret of the type kubernetes.io/service-account-token, and so get a token of any service account.
    """
    return Permission("create", "secrets", namespace, name)


def for_lease(namespace: str, name: str) -> tuple[Permission, ...]:
    """The permissions to hold this Lease. We create it by PUT, because its path contains the name. Leases
    allow that (k8s.io/kubernetes, registry/coordination/lease/strategy.go: AllowCreateOnUpdate)."""
    group = "coordination.k8s.io"
    return tuple(Permission(verb, "leases", namespace, name, group) for verb in ("get", "update", "create"))


def for_events(namespace: str) -> tuple[Permission, ...]:
    """The permission to create Events in this namespace. It is optional: nothing else depends on it."""
    return (Permission("create", "events", namespace),)
