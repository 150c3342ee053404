"""Where tokens are published: adapters of `ports.Output`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from refresher.config.declarations import FileOutputSettings, OutputSettings, SecretOutputSettings
from refresher.outputs.directories import Directories
from refresher.ports import Output

if TYPE_CHECKING:
    from refresher.kube.api import KubeApi


class Cluster(NamedTuple):
    """What a Secret needs. `connect`: to the API server; `owner`: the installation that Secrets belong to, as
    NAMESPACE/NAME or NAME; `time_left`: for how many seconds from now this process may write them."""

    connect: "Callable[[], KubeApi]"
    owner: str
    time_left: Callable[[], float]


def build(
    settings: OutputSettings, issuer_url: str, cluster: Cluster, directories: Directories | None = None
) -> Output:
    """The output that `settings` describe. `issuer_url` goes into what the JavaScript SDK reads. All outputs
    of a process share `directories`.

    Raises KubeConfigError for a Secret if it cannot be known which cluster it is in.
    """
    match settings:
        case FileOutputSettings():
            from refresher.outputs.file import FileOutput  # noqa: PLC0415 - each kind when there is one

            return FileOutput(settings, issuer_url, cluster.owner, directories)
        case SecretOutputSettings():
            api = cluster.connect()  # first: what follows imports the Kubernetes client
            from refresher.outputs import secret, secret_body  # noqa: PLC0415

            plan = secret_body.planned(settings, issuer_url, api.namespace, cluster.owner)
            return secret.SecretOutput(plan, api, cluster.time_left)
