"""Where tokens are published: adapters of `ports.Output`, built from settings."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from refresher.config.output_kinds import DELETE, FileOutputSettings, OutputSettings, SecretOutputSettings
from refresher.core.formats import Format
from refresher.outputs.directories import Directories
from refresher.ports import Output

if TYPE_CHECKING:
    from refresher.kube.api import KubeApi

_format = lru_cache(maxsize=64)(Format)  # ten thousand outputs have few different ones


class Cluster(NamedTuple):
    """The cluster of Secret outputs. `connect` returns the client of the API server. `owner` is the
    installation that owns the Secrets, [NAMESPACE/]NAME. `time_left` returns for how many seconds from now
    this process may write them."""

    connect: "Callable[[], KubeApi]"
    owner: str
    time_left: Callable[[], float]


def build(
    settings: OutputSettings, issuer_url: str, cluster: Cluster, directories: Directories | None = None
) -> Output:
    """The adapter for `settings`: the one place that knows both. `issuer_url` is part of the format
    inlive-sdk. All outputs of a process share `directories`.

    Raises KubeConfigError for a Secret if the cluster is unknown.
    """
    match settings:
        case FileOutputSettings(path, name, template, mode, group, on_remove=on_remove):
            from refresher.outputs import file  # noqa: PLC0415 - only the kinds in use

            deletes = on_remove == DELETE
            plan = file.Plan(path, issuer_url, _format(name, template), mode, group, cluster.owner, deletes)
            return file.FileOutput(plan, directories)
        case SecretOutputSettings(on_remove=on_remove):
            api = cluster.connect()  # first: the adapter imports the Kubernetes client
            from refresher.outputs import secret as secret_output  # noqa: PLC0415
            from refresher.outputs import secret_plan  # noqa: PLC0415

            wants = secret_plan.of_settings(settings, api.namespace, cluster.owner, issuer_url)
            return secret_output.SecretOutput(wants, api, cluster.time_left, deletes=on_remove == DELETE)
