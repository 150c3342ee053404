"""Paths in the REST API of Kubernetes."""

ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
ACCESS_TOKENS = "/apis/token-refresher.inlive.app/v1alpha1"
SELF_REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

# No object has this resourceVersion, because etcd counts from 2. A write with it creates an object, and
# conflicts if another client has created it meanwhile. The API server ignores the resourceVersion while the
# object does not exist (k8s.io/apiserver, registry/store.go, Update).
NEVER = "1"


def secret_path(namespace: str, name: str) -> str:
    return f"{secrets_path(namespace)}/{name}"


def secrets_path(namespace: str) -> str:
    """All of a namespace; of the cluster if `namespace` is empty."""
    return f"/api/v1{f'/namespaces/{namespace}' if namespace else ''}/secrets"


def lease_path(namespace: str, name: str) -> str:
    return f"{leases_path(namespace)}/{name}"


def leases_path(namespace: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def events_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/events"


def accesstokens_path(namespace: str) -> str:
    """All of a namespace; of the cluster if `namespace` is empty."""
    return f"{ACCESS_TOKENS}{f'/namespaces/{namespace}' if namespace else ''}/accesstokens"


def status_path(namespace: str, name: str) -> str:
    return f"{accesstokens_path(namespace)}/{name}/status"
