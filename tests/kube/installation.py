"""One installation in a test cluster: its configuration, its service account, and its daemons."""

import base64
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from refresher.emulator.server import Emulator
from tests.commands.daemon import Daemon
from tests.kube.administrator import Rule
from tests.kube.cluster import Cluster

NAME = "access-token"  # of the Secret, and of the key in it
LEASE = "refresher"
LEASES = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
SECRETS = {"apiGroups": [""], "resources": ["secrets"]}
ENOUGH: list[Rule] = [
    LEASES | {"verbs": ["get", "update", "create"], "resourceNames": [LEASE]},
    SECRETS | {"verbs": ["get", "patch", "create"], "resourceNames": [NAME]},
]


class Installation:
    """A context manager that ends all its daemons.

    `lease`: seconds after which a Lease that is not renewed may be taken; 0 for no election. `secret`: where
    the token goes, by default NAME in the service account's namespace.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        issuer: Emulator,
        place: Path,
        *,
        lease: int = 0,
        lifetime: str = "20s",
        secret: str = NAME,
    ) -> None:
        self.cluster, self.issuer = cluster, issuer
        self.account = cluster.service_account(namespace, "refresher", ENOUGH)
        self._secret = secret if "/" in secret else f"{namespace}/{secret}"
        self.path = "/api/v1/namespaces/{}/secrets/{}".format(*self._secret.split("/"))
        self._leader = f'leader{{lease="{namespace}/{LEASE}"}}'
        self.lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}"
        self.key = place / "key"
        self.key.write_text(issuer.keys[0].reveal())
        self.config = place / "refresher.yaml"
        election = f"leader_election: {{lease: {LEASE}, duration: {lease}s}}\n" if lease else ""
        self.config.write_text(
            f"issuer: {{url: '{issuer.url}'}}\n{election}"
            "tokens:\n"
            f"- {{name: studio, key_file: key, lifetime: {lifetime}, "
            f"outputs: [{{secret: {secret}, propagation_delay: 0s}}]}}\n"
        )
        self._daemons = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._daemons.close()

    def start(self, **environ: str) -> Daemon:
        """Start another daemon, with its endpoints. `environ` may name another kubeconfig or owner."""
        environ = {"KUBECONFIG": str(self.account.kubeconfig)} | environ
        return self._daemons.enter_context(Daemon("--config", self.config, endpoints=True, **environ))

    def pair(self) -> tuple[Daemon, Daemon]:
        """The leader, which has written a token, and the standby, which has adopted it."""
        leader = self.start()
        leader.wait_for("OutputWritten")
        standby = self.start()
        standby.wait_for("LeaderChanged", leads=False)
        standby.wait_for("TokenAdopted")
        return leader, standby

    # Consumers

    def stored(self) -> Any:
        """The current Secret."""
        return self.cluster.must("GET", self.path)

    def token(self) -> str:
        return base64.b64decode(self.stored()["data"][NAME]).decode()

    def serves(self) -> bool:
        """Whether the issuer accepts the token in the Secret."""
        return self.issuer.valid(self.token())

    # Requests to a daemon

    def leads(self, daemon: Daemon) -> bool:
        """Whether a daemon leads, according to its /metrics."""
        return daemon.metric(self._leader) == 1.0

    def sample(self, name: str, **labels: str) -> str:
        """The name of a sample of our Secret in /metrics."""
        labels = {"token": "studio", "output": f"secret:{self._secret}"} | labels
        return name + "{" + ",".join(f'{label}="{value}"' for label, value in sorted(labels.items())) + "}"
