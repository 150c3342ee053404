"""Asks the API server for our permissions, and prints the objects that are missing."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from refresher.errors import KubeDeniedError, KubeError, KubeNotFoundError
from refresher.kube.api import KubeApi
from refresher.kube.paths import ACCESS_REVIEWS, SELF_REVIEWS, secret_path
from refresher.kube.rbac import Permission

_ACCOUNT = "system:serviceaccount:"  # prefix of the user name of a service account
_GROUP = "rbac.authorization.k8s.io"


def missing(api: KubeApi, needed: Iterable[Permission]) -> tuple[Permission, ...]:
    """The permissions in `needed` that we do not have, in the same order.

    Sends a SelfSubjectAccessReview for each. Every user may do so, unless an administrator has removed that
    right. The answer covers every authorizer of the cluster, RBAC and others. Raises KubeError.
    """
    return tuple(permission for permission in dict.fromkeys(needed) if not _is_allowed(api, permission))


def _is_allowed(api: KubeApi, permission: Permission) -> bool:
    attributes = {field: value for field, value in permission._asdict().items() if value}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    match api.create(ACCESS_REVIEWS, review):
        case {"status": {"allowed": True}}:
            return True
    return False


def is_there(api: KubeApi, secret: tuple[str, str]) -> bool:
    """Whether this Secret (namespace, name) exists. False if we may not read it. Raises KubeError."""
    try:
        api.get(secret_path(*secret))
    except (KubeNotFoundError, KubeDeniedError):
        return False
    return True


def user(api: KubeApi) -> str | None:
    """Our user name, like ``system:serviceaccount:inlive:refresher``; None if it cannot be determined."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        response = api.create(SELF_REVIEWS, review)
    except KubeError:  # Kubernetes before 1.28, or not permitted: `role` then prints a placeholder
        return None
    match response:
        case {"status": {"userInfo": {"username": str(name)}}}:
            return name
    return None


def role(needed: Iterable[Permission], denied: Iterable[Permission], user: str | None) -> str:
    """YAML for `kubectl apply -f -`: a Role and its binding to `user`, for each namespace in `denied`.

    The Role grants everything that is `needed` in its namespace. So a Role applied later removes nothing.
    """
    unique = tuple(dict.fromkeys(needed))
    objects: list[Mapping[str, Any]] = []
    for namespace in dict.fromkeys(permission.namespace for permission in denied):
        granted = [permission for permission in unique if permission.namespace == namespace]
        objects += _role(granted, namespace, user)
    return _documents(objects)


def empty_secrets(secrets: Iterable[tuple[str, str]]) -> str:
    """YAML for `kubectl apply -f -`: these Secrets (namespace, name) without data.

    Applying it to an existing Secret keeps its data.
    """
    return _documents(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "type": "Opaque",
        }
        for namespace, name in secrets
    )


def _documents(objects: Iterable[Mapping[str, Any]]) -> str:
    return "---\n".join("".join(f"{line}\n" for line in _yaml(document)) for document in objects)


def _role(permissions: Sequence[Permission], namespace: str, user: str | None) -> list[Mapping[str, Any]]:
    subject: Mapping[str, str] = {"apiGroup": _GROUP, "kind": "User", "name": user or "WHO-WE-ARE"}
    name = "inlive-token-refresher"
    if user is not None and user.startswith(_ACCOUNT):
        home, _, name = user.removeprefix(_ACCOUNT).partition(":")
        subject = {"kind": "ServiceAccount", "name": name, "namespace": home}
    # The installation's own Role has the name of the account. Do not overwrite it.
    metadata = {"name": f"{name}-needs", "namespace": namespace}
    version = {"apiVersion": f"{_GROUP}/v1"}
    ref = {"apiGroup": _GROUP, "kind": "Role", "name": metadata["name"]}
    return [
        {**version, "kind": "Role", "metadata": metadata, "rules": _rules(permissions)},
        {**version, "kind": "RoleBinding", "metadata": metadata, "roleRef": ref, "subjects": [subject]},
    ]


def _rules(permissions: Sequence[Permission]) -> list[Mapping[str, Any]]:
    """Objects that need the same verbs share a rule. Verbs for all objects of a resource get their own."""
    verbs_of: dict[tuple[str, str, str], list[str]] = {}
    for needed in permissions:
        verbs_of.setdefault((needed.group, needed.resource, needed.name), []).append(needed.verb)
    names_of: dict[tuple[str, str, tuple[str, ...], bool], list[str]] = {}
    for (group, resource, name), verbs in verbs_of.items():
        names_of.setdefault((group, resource, tuple(verbs), bool(name)), []).append(name)
    return [
        {"apiGroups": [group], "resources": [resource]}
        | ({"resourceNames": names} if is_named else {})
        | {"verbs": list(verbs)}
        for (group, resource, verbs, is_named), names in names_of.items()
    ]


def _yaml(value: Mapping[str, Any]) -> Iterator[str]:
    """The lines of this object. Values without fields are printed as JSON, a subset of YAML."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield f"{key}:"
            yield from (f"  {line}" for line in _yaml(item))
        elif isinstance(item, list) and item and isinstance(item[0], Mapping):
            yield f"{key}:"
            for element in item:
                first, *rest = _yaml(element)
                yield f"  - {first}"
                yield from (f"    {line}" for line in rest)
        else:
            yield f"{key}: {json.dumps(item)}"
