"""What we may do, asked of the API server, and what to paste where that is not enough."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from refresher.errors import KubeDeniedError, KubeError, KubeNotFoundError
from refresher.kube.api import KubeApi
from refresher.kube.paths import REVIEWS, WHO, secret_path
from refresher.kube.rbac import Permission

_ACCOUNT = "system:serviceaccount:"  # what the user name of every service account begins with
_GROUP = "rbac.authorization.k8s.io"


def missing(api: KubeApi, needed: Iterable[Permission]) -> tuple[Permission, ...]:
    """Those of `needed` that we have not, in that order.

    Asked by SelfSubjectAccessReview, which everybody may do unless an administrator has taken that away, and
    which counts in whatever authorizes there, not RBAC alone. Raises KubeError.
    """
    return tuple(each for each in dict.fromkeys(needed) if not _is_allowed(api, each))


def _is_allowed(api: KubeApi, wanted: Permission) -> bool:
    attributes = {part: text for part, text in wanted._asdict().items() if text}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    match api.create(REVIEWS, review):
        case {"status": {"allowed": True}}:
            return True
    return False


def is_there(api: KubeApi, secret: tuple[str, str]) -> bool:
    """Whether this Secret (namespace, name) exists, as far as we may see. Raises KubeError."""
    try:
        api.get(secret_path(*secret))
    except (KubeNotFoundError, KubeDeniedError):
        return False
    return True


def user(api: KubeApi) -> str | None:
    """Who we are, like ``system:serviceaccount:inlive:refresher``; None if the API server does not tell."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        told = api.create(WHO, review)
    except KubeError:  # older than 1.28, or not permitted: what is printed then has a gap to be filled in
        return None
    match told:
        case {"status": {"userInfo": {"username": str(name)}}}:
            return name
    return None


def role(needed: Iterable[Permission], lacking: Iterable[Permission], user: str | None) -> str:
    """YAML for `kubectl apply -f -`: for each namespace of `lacking` a Role, and its binding to `user`.

    The Role has all that is `needed` in that namespace, so that pasting a later one takes nothing away.
    """
    everything = tuple(dict.fromkeys(needed))
    objects: list[Mapping[str, Any]] = []
    for namespace in dict.fromkeys(each.namespace for each in lacking):
        objects += _role([each for each in everything if each.namespace == namespace], namespace, user)
    return _documents(objects)


def empty_secrets(secrets: Iterable[tuple[str, str]]) -> str:
    """YAML for `kubectl apply -f -`: these Secrets (namespace, name) without data.

    Applied over a Secret that exists, it leaves the data as it is.
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
    return "---\n".join("".join(f"{line}\n" for line in _yaml(each)) for each in objects)


def _role(permissions: Sequence[Permission], namespace: str, user: str | None) -> list[Mapping[str, Any]]:
    subject: Mapping[str, str] = {"apiGroup": _GROUP, "kind": "User", "name": user or "WHO-WE-ARE"}
    name = "inlive-token-refresher"
    if user is not None and user.startswith(_ACCOUNT):
        home, _, name = user.removeprefix(_ACCOUNT).partition(":")
        subject = {"kind": "ServiceAccount", "name": name, "namespace": home}
    # Not the name of the account alone, which is what a Role that came with the installation is called.
    metadata = {"name": f"{name}-needs", "namespace": namespace}
    version = {"apiVersion": f"{_GROUP}/v1"}
    ref = {"apiGroup": _GROUP, "kind": "Role", "name": metadata["name"]}
    return [
        {**version, "kind": "Role", "metadata": metadata, "rules": _rules(permissions)},
        {**version, "kind": "RoleBinding", "metadata": metadata, "roleRef": ref, "subjects": [subject]},
    ]


def _rules(permissions: Sequence[Permission]) -> list[Mapping[str, Any]]:
    """Objects of which the same is needed share a rule; what is needed of all objects has one of its own."""
    verbs: dict[tuple[str, str, str], list[str]] = {}
    for each in permissions:
        verbs.setdefault((each.group, each.resource, each.name), []).append(each.verb)
    names: dict[tuple[str, str, tuple[str, ...], bool], list[str]] = {}
    for (group, resource, name), wanted in verbs.items():
        names.setdefault((group, resource, tuple(wanted), bool(name)), []).append(name)
    return [
        {"apiGroups": [group], "resources": [resource]}
        | ({"resourceNames": found} if is_named else {})
        | {"verbs": list(wanted)}
        for (group, resource, wanted, is_named), found in names.items()
    ]


def _yaml(value: Mapping[str, Any]) -> Iterator[str]:
    """The lines of this object. What has no fields is in JSON, which is YAML."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield f"{key}:"
            yield from (f"  {line}" for line in _yaml(item))
        elif isinstance(item, list) and item and isinstance(item[0], Mapping):
            yield f"{key}:"
            for each in item:
                first, *rest = _yaml(each)
                yield f"  - {first}"
                yield from (f"    {line}" for line in rest)
        else:
            yield f"{key}: {json.dumps(item)}"
