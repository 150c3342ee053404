"""Renders `deploy` with kustomize, and reads Pods, permissions and configuration from the objects."""

import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from refresher.cli import build_parser
from refresher.config.declarations import Settings
from refresher.config.loader import KEY, OUTPUTS, Loaded, load
from refresher.config.output_kinds import SecretOutputSettings
from refresher.kube.rbac import Permission, for_events, for_lease, for_secret
from tests import needs

DEPLOY = Path(__file__).parents[2] / "deploy"
IMAGE = "inlive-token-refresher"
IN_SECRETS = ("deployment", "ha", "cronjob")  # overlays that write the Secrets of a configuration
WITH_KEY = (*IN_SECRETS, "sidecar")  # the sidecar publishes in a file
OVERLAYS = (*WITH_KEY, "controller")  # the controller reads its keys from Secrets

Document = dict[str, Any]  # an object of Kubernetes, or a part of one


class Objects(list[Document]):
    """The objects rendered from one directory."""

    def of(self, kind: str) -> list[Document]:
        return [each for each in self if each["kind"] == kind]

    def the(self, kind: str) -> Document:
        """The only object of this kind."""
        (found,) = self.of(kind)
        return found

    @property
    def pod(self) -> Document:
        """The template of the only Pods."""
        jobs = [each["spec"].get("jobTemplate", each)["spec"] for each in self if "spec" in each]
        (template,) = [spec["template"] for spec in jobs if "template" in spec]
        return dict(template)

    @property
    def ours(self) -> Document:
        """The only container of the refresher."""
        (found,) = [each for each in containers(self.pod) if IMAGE in each["image"]]
        return found


def render(directory: Path) -> Objects:
    """Render with kubectl, as a user does. An empty result is an error: no test could fail on it."""
    command = [needs.tool("kubectl"), "kustomize", str(directory)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    objects = Objects(yaml.safe_load_all(made.stdout))
    assert objects
    return objects


@cache
def overlay(name: str) -> Objects:
    """One of OVERLAYS, unchanged. Do not change it."""
    return render(DEPLOY / "overlays" / name)


def used(name: str, directory: Path, **fields: object) -> Objects:
    """One of OVERLAYS, used by a kustomization with these fields in this directory."""
    resources = [os.path.relpath(DEPLOY / "overlays" / name, directory.resolve())]
    (directory / "kustomization.yaml").write_text(yaml.safe_dump({"resources": resources, **fields}))
    return render(directory)


def component(name: str, directory: Path) -> str:
    """The path of a component in a kustomization in this directory."""
    return os.path.relpath(DEPLOY / "components" / name, directory.resolve())


def containers(pod: Document) -> list[Document]:
    """All containers, including init containers."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def blocks(path: Path) -> list[str]:
    """The YAML blocks of a page."""
    return re.findall(r"^```yaml\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)


# Arguments and configuration


def environ(container: Document) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container.get("env", [])}


def mounts(pod: Document, container: Document) -> Iterator[tuple[Document, Document]]:
    """Each of the container's mounts, with its volume."""
    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    return ((mount, volumes[mount["name"]]) for mount in container["volumeMounts"])


def loaded(objects: Objects, directory: Path) -> Loaded:
    """What the refresher makes of its arguments, variables and mounted configuration; of that a copy is put
    into this directory, and read there instead."""
    given = environ(objects.ours)
    if "REFRESHER_CONFIG" in given:
        path = Path(given["REFRESHER_CONFIG"])
        (written,) = [each for each in objects.of("ConfigMap") if path.name in each["data"]]
        (volume,) = [
            volume
            for mount, volume in mounts(objects.pod, objects.ours)
            if mount["mountPath"] == str(path.parent)
        ]
        assert volume["configMap"]["name"] == written["metadata"]["name"]
        for name, text in written["data"].items():
            (directory / name).write_text(text)
        given["REFRESHER_CONFIG"] = str(directory / path.name)
    arguments = build_parser().parse_args(objects.ours["args"])
    needs = () if objects.ours["args"][0] == "controller" else (KEY, OUTPUTS)
    return load(vars(arguments), given, "/", needs=needs)


# Permissions


def granted(objects: Objects) -> set[Permission]:
    """The permissions of all Roles. Every Role is bound to the service account of the Pod. Those of a
    ClusterRole have no namespace."""
    account = objects.the("ServiceAccount")["metadata"]
    assert account["name"] == objects.pod["spec"]["serviceAccountName"]
    subject = {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    roles = [each for each in (*objects.of("Role"), *objects.of("ClusterRole")) if not _is_for_users(each)]
    bindings = [*objects.of("RoleBinding"), *objects.of("ClusterRoleBinding")]
    assert all(each["subjects"] == [subject] for each in bindings)
    bound = [(_namespace(each), each["roleRef"]["kind"], each["roleRef"]["name"]) for each in bindings]
    assert sorted(bound) == sorted(
        (_namespace(each), each["kind"], each["metadata"]["name"]) for each in roles
    )
    return {
        Permission(verb, resource, _namespace(role), name, group)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }


def _is_for_users(role: Document) -> bool:
    return any("aggregate-to" in label for label in role["metadata"]["labels"])


def _namespace(each: Document) -> str:
    return str(each["metadata"].get("namespace", ""))


def written(settings: Settings, home: str) -> set[tuple[str, str]]:
    """Namespace and name of the Secrets that these settings write, in a Pod in the namespace `home`."""
    outputs = [output for token in settings.tokens for output in token.outputs]
    return {_place(each.secret, home) for each in outputs if isinstance(each, SecretOutputSettings)}


def prepared(objects: Objects) -> set[tuple[str, str]]:
    """Namespace and name of the Secrets among these objects. None may have a field for data: applying it
    would remove the token, or conflict with the refresher."""
    secrets = objects.of("Secret")
    for each in secrets:
        assert each.keys() == {"apiVersion", "kind", "metadata", "type"}
        assert each["type"] == "Opaque"
        assert each["metadata"]["labels"]["app.kubernetes.io/component"] == "token"
    return {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in secrets}


def needed(settings: Settings, home: str) -> set[Permission]:
    """The permissions that these settings need, in a Pod in the namespace `home`."""
    places = written(settings, home)
    found = [for_secret(*place) for place in places]
    if places:  # of a Secret, and of the Pod
        found += [for_events(namespace) for namespace in (home, *(namespace for namespace, _ in places))]
    if settings.leader_election is not None:
        found.append(for_lease(*_place(settings.leader_election.lease, home)))
    return {permission for each in found for permission in each}


def _place(name: str, home: str) -> tuple[str, str]:
    namespace, _, name = name.rpartition("/")
    return namespace or home, name
