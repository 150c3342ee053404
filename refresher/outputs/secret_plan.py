"""What an installation publishes in a Secret. No I/O."""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from refresher.config.addresses import Pairs, namespaced
from refresher.config.output_kinds import SecretOutputSettings
from refresher.core import formats
from refresher.core.formats import Format
from refresher.core.instant import Instant
from refresher.core.model import Token


class Controller(NamedTuple):
    """The object that a Secret belongs to. Kubernetes deletes the Secret after that object.
    https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/"""

    api_version: str
    kind: str
    name: str
    uid: str

    def reference(self) -> dict[str, object]:
        """As the metadata of the Secret has it."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
        }


class Plan(NamedTuple):
    """What one installation publishes in a Secret: the token under each key of `formats`, in that format."""

    namespace: str
    secret: str
    owner: str  # the installation: two installations never share a Secret
    formats: Mapping[str, Format]
    issuer_url: str
    labels: Pairs = ()  # the user's own
    annotations: Pairs = ()
    controller: Controller | None = None

    @property
    def identity(self) -> str:
        """The identities of all formats (`Format.identity`), by key."""
        identities = {key: format_.identity(self.issuer_url) for key, format_ in self.formats.items()}
        return json.dumps(identities, sort_keys=True)

    def render(self, token: Token, now: Instant) -> dict[str, bytes]:
        """The value of each key for `token`, written at `now`."""
        return {
            key: formats.render(format_, token, now, self.issuer_url) for key, format_ in self.formats.items()
        }


def formats_by_key(data: Iterable[tuple[str, str]], template: str | None) -> dict[str, Format]:
    """The format of each key. Only keys with the format template use `template`."""
    return {key: Format(name, template if name == "template" else None) for key, name in data}


def planned(secret: str, home: str, owner: str, key_formats: Mapping[str, Format], issuer_url: str) -> Plan:
    """The plan for a Secret [NAMESPACE/]NAME. `home` is the default namespace of the Secret and its owner."""
    namespace, name = namespaced(secret, home)
    return Plan(namespace, name, "/".join(namespaced(owner, home)), key_formats, issuer_url)


def of_settings(wanted: SecretOutputSettings, home: str, owner: str, issuer_url: str) -> Plan:
    """The plan for the output `wanted`; see `planned`."""
    key_formats = formats_by_key(wanted.data, wanted.template)
    plan = planned(wanted.secret, home, owner, key_formats, issuer_url)
    return plan._replace(labels=wanted.labels, annotations=wanted.annotations)
