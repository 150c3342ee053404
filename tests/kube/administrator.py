"""The administrator of a test cluster: sends requests, runs kubectl, creates service accounts."""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import requests

from tests.commands.daemon import eventually
from tests.kube.credentials import Credentials
from tests.kube.servers import PATIENCE

TIMEOUT = 10.0  # seconds for one request
APPLY = "application/apply-patch+yaml"
RBAC = "rbac.authorization.k8s.io"

Rule = Mapping[str, Sequence[str]]  # one of a Role: apiGroups, resources, verbs, resourceNames


class Account(NamedTuple):
    """A service account and the files that a program uses it with."""

    namespace: str
    name: str
    token: str
    kubeconfig: Path  # with that token in it
    directory: Path  # token, ca.crt, namespace: a Pod's /var/run/secrets/kubernetes.io/serviceaccount

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"


class Administrator:
    """An administrator with a client certificate for this URL. Creates its files in `directory`."""

    def __init__(self, url: str, credentials: Credentials, kubectl: Path, directory: Path) -> None:
        self.url = url
        self.credentials = credentials
        self.kubeconfig = directory / "admin.kubeconfig"
        self._kubectl, self._directory = kubectl, directory
        credentials.kubeconfig(self.kubeconfig, url)

    @property
    def version(self) -> str:
        """The version that the API server reports, such as v1.34.4."""
        return str(self.must("GET", "/version")["gitVersion"])

    def ready(self) -> bool:
        """Whether the API server is ready and can read from etcd. Its own report of etcd may be stale."""
        try:
            asked = (self.ask("GET", path, timeout=2) for path in ("/readyz", "/api/v1/namespaces/default"))
            return all(response.ok for response in asked)
        except requests.RequestException:
            return False

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        media_type: str = "application/json",
        timeout: float = TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send one request over a new connection and return any response. The owner of the token sends it.
        Without a token it is the administrator; with an empty token, an anonymous client."""
        with requests.Session() as session:
            session.trust_env = False
            session.verify = str(self.credentials.ca)
            if token is None:
                session.cert = str(self.credentials.admin)
            elif token:
                session.headers["Authorization"] = f"Bearer {token}"
            session.headers.update({"Content-Type": media_type} | dict(headers or {}))
            sent = None if body is None else json.dumps(body)
            return session.request(method, self.url + path, data=sent, timeout=timeout)

    def must(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The response to a successful request. Raises AssertionError with the server's message."""
        response = self.ask(method, path, body, **more)
        assert response.ok, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    def kubectl(
        self,
        *arguments: str,
        stdin: Any = None,
        account: Account | None = None,
        check: bool = True,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl of the same release as the administrator or a service account. `stdin` is a text, or an
        object to be written as JSON."""
        config = self.kubeconfig if account is None else account.kubeconfig
        text = stdin if stdin is None or isinstance(stdin, str) else json.dumps(stdin)
        ran = subprocess.run(
            [str(self._kubectl), f"--kubeconfig={config}", *arguments],
            input=text,
            env={"PATH": os.defpath, "HOME": str(self._directory)},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or ran.returncode == 0, f"kubectl {' '.join(arguments)}: {ran.stderr}"
        return ran

    # Permissions

    def namespace(self, name: str, **labels: str) -> None:
        """Create or label this namespace. `enforce` is the value of pod-security.kubernetes.io/enforce."""
        labels = {f"pod-security.kubernetes.io/{key}": value for key, value in labels.items()}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"labels": labels}}
        self._apply(f"/api/v1/namespaces/{name}", body)

    def service_account(
        self, namespace: str, name: str, rules: Sequence[Rule] = (), *, lifetime: int = 3600
    ) -> Account:
        """A service account that may do this in its namespace, both made if need be, with a token from the
        TokenRequest API that is good for so many seconds (the API server takes 600 and more)."""
        made = self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        assert made.status_code in {201, 409}, made.text
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"
        self._apply(path, {"apiVersion": "v1", "kind": "ServiceAccount"})
        directory = self._directory / "accounts" / namespace / name
        directory.mkdir(parents=True, exist_ok=True)
        account = Account(
            namespace, name, self.token(namespace, name, lifetime), directory / "kubeconfig", directory
        )
        self.credentials.kubeconfig(account.kubeconfig, self.url, namespace=namespace, token=account.token)
        (directory / "token").write_text(account.token)
        (directory / "namespace").write_text(namespace)
        (directory / "ca.crt").write_bytes(self.credentials.ca.read_bytes())
        self.grant(account, rules)
        return account

    def token(self, namespace: str, name: str, lifetime: int = 3600) -> str:
        """A new token for this service account, valid for `seconds`."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        spec = {"expirationSeconds": lifetime}
        return str(self.must("POST", path, {"spec": spec})["status"]["token"])

    def expired(self, account: Account) -> str:
        """A token of this service account that expired two minutes ago. The server accepts one minute."""
        return self.credentials.altered(account.token, exp=int(time.time()) - 120)

    def grant(self, account: Account, rules: Sequence[Rule]) -> None:
        """Replace the permissions of the account in its namespace. They are in force on return."""
        base = f"/apis/{RBAC}/v1/namespaces/{account.namespace}"
        meta = {"apiVersion": f"{RBAC}/v1"}
        role = {"apiGroup": RBAC, "kind": "Role", "name": account.name}
        subject = {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}
        self._apply(f"{base}/roles/{account.name}", meta | {"kind": "Role", "rules": list(rules)})
        binding = meta | {"kind": "RoleBinding", "roleRef": role, "subjects": [subject]}
        self._apply(f"{base}/rolebindings/{account.name}", binding)
        # Authorization reads a cache that trails the write.
        in_force = f"{account.user} may do {_comparable(rules)} and nothing else"
        eventually(lambda: self._rules(account) == _comparable(rules), in_force, PATIENCE)

    def _rules(self, account: Account) -> set[tuple[Any, ...]]:
        review = self.must(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            {"spec": {"namespace": account.namespace}},
            headers={"Impersonate-User": account.user},
        )
        everybodys = {
            "authorization.k8s.io",
            "authentication.k8s.io",
        }  # reviews of one's own permissions and user
        granted = review["status"]["resourceRules"]
        return _comparable([rule for rule in granted if not everybodys & set(rule["apiGroups"])])

    def _apply(self, path: str, body: Mapping[str, Any]) -> None:
        metadata = {**body.get("metadata", {}), "name": path.rpartition("/")[2]}
        sent = {**body, "metadata": metadata}
        self.must("PATCH", f"{path}?fieldManager=tests&force=true", sent, media_type=APPLY)


def _comparable(rules: Sequence[Rule]) -> set[tuple[Any, ...]]:
    parts = ("apiGroups", "resources", "resourceNames", "verbs")
    return {tuple(tuple(sorted(rule.get(part, ()))) for part in parts) for rule in rules}
