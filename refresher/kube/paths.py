"""Where the API server keeps what we ask for: the paths of its REST API."""

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

# No object has this resourceVersion, as etcd counts from 2 on: sent with it, an object is made where there is
# none, and where somebody has made one meanwhile it is a conflict. The API server disregards the
# resourceVersion for an object that is not there (k8s.io/apiserver, registry/store.go, Update).
NEVER = "1"


def secret_path(namespace: str, name: str) -> str:
    return f"{secrets_path(namespace)}/{name}"


def secrets_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"


def lease_path(namespace: str, name: str) -> str:
    return f"{leases_path(namespace)}/{name}"


def leases_path(namespace: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def events_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/events"
