"""A namespace with AccessTokens, and controllers that serve it."""

import base64
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from refresher.emulator.server import Emulator
from tests.commands.daemon import Daemon, eventually
from tests.kube.administrator import Rule
from tests.kube.cluster import Cluster

GROUP = "token-refresher.inlive.app"
LABEL = f"{GROUP}/key"
MERGE = "application/merge-patch+json"
LEASE = "refresher"
WATCHING: list[Rule] = [
    {"apiGroups": [GROUP], "resources": ["accesstokens"], "verbs": ["list", "watch"]},
    {"apiGroups": [GROUP], "resources": ["accesstokens/status"], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch", "get", "patch", "create"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
]
ELECTING: Rule = {
    "apiGroups": ["coordination.k8s.io"],
    "resources": ["leases"],
    "verbs": ["get", "update", "create"],
    "resourceNames": [LEASE],
}


class Team:
    """A context manager that ends its controllers."""

    def __init__(self, cluster: Cluster, namespace: str, issuer: Emulator) -> None:
        self.cluster, self.namespace, self.issuer = cluster, namespace, issuer
        self.account = cluster.service_account(namespace, "refresher", [*WATCHING, ELECTING])
        self.objects = f"/apis/{GROUP}/v1alpha1/namespaces/{namespace}/accesstokens"
        self.secrets = f"/api/v1/namespaces/{namespace}/secrets"
        self.controller: Daemon  # the first
        self._controllers = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controllers.close()

    def start(self, *words: object, **environ: str) -> Daemon:
        """Another controller, which has listed everything."""
        environ = {"KUBECONFIG": str(self.account.kubeconfig)} | environ
        words = ("--issuer-url", self.issuer.url, *words)
        daemon = Daemon(*words, endpoints=True, command="controller", **environ)
        return self._controllers.enter_context(daemon)

    # What users do

    def set_key(self, text: str, name: str = "key", label: str | None = "true") -> None:
        """Create or change the key Secret."""
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": {LABEL: label} if label else {}},
            "data": {"application-key": base64.b64encode(text.encode()).decode()},
        }
        path = f"{self.secrets}/{name}?fieldManager=user&force=true"
        self.cluster.must("PATCH", path, body, media_type="application/apply-patch+yaml")

    def change_key(self, text: str, name: str = "key") -> None:
        """Change a key Secret that is there."""
        data = {"application-key": base64.b64encode(text.encode()).decode()}
        self.cluster.must("PATCH", f"{self.secrets}/{name}", {"data": data}, media_type=MERGE)

    def create(self, name: str = "studio", labels: dict[str, str] | None = None, **fields: Any) -> Any:
        """Create an AccessToken with the Secret NAME-token and other fields of its spec."""
        spec = {"applicationKeySecretRef": {"name": "key"}, "secret": {"name": f"{name}-token"}} | fields
        body = {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "AccessToken",
            "metadata": {"name": name, "labels": labels or {}},
            "spec": spec,
        }
        return self.cluster.must("POST", self.objects, body)

    def change(self, name: str = "studio", **metadata_or_spec: Any) -> Any:
        """Merge `metadata` or `spec` into an object."""
        return self.cluster.must("PATCH", f"{self.objects}/{name}", metadata_or_spec, media_type=MERGE)

    def delete(self, name: str = "studio") -> None:
        self.cluster.must("DELETE", f"{self.objects}/{name}")

    # What users see

    def status(self, name: str = "studio") -> Any:
        return self.cluster.must("GET", f"{self.objects}/{name}").get("status", {})

    def condition(self, kind: str, name: str = "studio") -> Any:
        """The condition of an object; empty without one."""
        found = self.status(name).get("conditions", [])
        return next((each for each in found if each["type"] == kind), {"status": "", "reason": ""})

    def ready(self, name: str = "studio") -> tuple[str, str]:
        """Status and reason of the condition Ready."""
        found = self.condition("Ready", name)
        return found["status"], found["reason"]

    def wait(self, name: str = "studio", *, status: str = "True", reason: str = "valid") -> Any:
        """Wait until the condition Ready is so. Returns it."""
        what = f"{name} is {status} because {reason}"
        eventually(lambda: self.ready(name) == (status, reason), what)
        return self.condition("Ready", name)

    def secret(self, name: str = "studio") -> Any:
        """The Secret of an object; None without one."""
        answer = self.cluster.ask("GET", f"{self.secrets}/{name}-token")
        return answer.json() if answer.ok else None

    def token(self, name: str = "studio") -> str:
        return base64.b64decode(self.secret(name)["data"]["access-token"]).decode()

    def events(self, name: str = "studio") -> list[tuple[str, str]]:
        """Reason and message of the Events about an object."""
        found = self.cluster.must("GET", f"/api/v1/namespaces/{self.namespace}/events")["items"]
        return [
            (each["reason"], each["message"])
            for each in found
            if each["involvedObject"]["kind"] == "AccessToken" and each["involvedObject"]["name"] == name
        ]
