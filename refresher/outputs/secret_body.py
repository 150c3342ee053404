"""What a Secret says, and what is to be said in it: the values, and in annotations until when they are good.

    metadata:
      labels: {app.kubernetes.io/managed-by: inlive-token-refresher}
      annotations:
        token-refresher.inlive.app/owner: inlive/inlive-token-refresher   # the installation that writes it
        token-refresher.inlive.app/issued-at: 2026-11-05T10:00:00.25Z     # and so on, as in a file's `record`
        token-refresher.inlive.app/format: {"access-token": "token"}      # of each key of ours
        token-refresher.inlive.app/sha256: 9f86…                          # `digest` of their values
    data: {access-token: …}

The digest describes what was written with it, and the annotation ``seal`` proves who wrote that, as in a
file's record. Values and annotations that somebody altered since are not believed. No I/O.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from refresher.config.addresses import namespaced
from refresher.core import formats
from refresher.core.formats import Credentials, Format
from refresher.core.instant import Instant
from refresher.core.model import Holding, Token, TokenFacts
from refresher.core.seal import Sealer
from refresher.errors import KubeUnreachableError
from refresher.kube.paths import NEVER
from refresher.outputs import record
from refresher.outputs.record import Entry

PREFIX = "token-refresher.inlive.app/"
OWNER = f"{PREFIX}owner"
LABEL, LABELLED = "app.kubernetes.io/managed-by", "inlive-token-refresher"
TYPE = "Opaque"
LARGEST_SECRET = 1024 * 1024  # bytes of all values: MaxSecretSize, k8s.io/api/core/v1

_NOT_TEXT = ("lifetime", "requested_lifetime", "has_refresh_token")


class Plan(NamedTuple):
    """What one installation keeps in one Secret: under each key of `formats` the token in that format."""

    namespace: str
    secret: str
    owner: str  # names the installation: two of them do not share a Secret
    formats: Mapping[str, Format]
    issuer_url: str

    @property
    def identity(self) -> str:
        """Of all formats, as `Format.identity` is of one."""
        return _json({key: form.identity(self.issuer_url) for key, form in self.formats.items()})

    def render(self, token: Token, now: Instant) -> dict[str, bytes]:
        """The value of each key for `token` when it is written at `now`."""
        return {key: formats.render(form, token, now, self.issuer_url) for key, form in self.formats.items()}


class Seen(NamedTuple):
    """What concerns us of a Secret that was found. Annotations are those of our prefix, without it."""

    resource_version: str
    type: str
    immutable: bool
    label: str | None
    annotations: Mapping[str, str]
    values: Mapping[str, bytes]

    def __repr__(self) -> str:
        """Without the values: they are ours and other people's secrets."""
        return f"<a Secret, resourceVersion {self.resource_version}>"

    @property
    def owner(self) -> str:
        """The installation it belongs to; empty if to none. Cut off where no name can be so long."""
        return self.annotations.get("owner", "")[: record.LONGEST_OWNER]

    @property
    def recorded(self) -> dict[str, str] | None:
        """The identity of the format of each key that was written by a refresher; None if by none."""
        return _identities(self.annotations.get("format", ""))

    @property
    def is_unaltered(self) -> bool:
        """Whether the values, all of them, are what was written with the annotations."""
        recorded = self.recorded or {}
        if not recorded or recorded.keys() - self.values.keys():
            return False
        return digest({key: self.values[key] for key in recorded}) == self.annotations.get("sha256")


def digest(values: Mapping[str, bytes]) -> str:
    """Names the values of some keys, all together. As `record.digest`, it tells nothing about a token."""
    return record.digest(_json({key: record.digest(value) for key, value in values.items()}).encode())


def seen(document: Mapping[str, Any]) -> Seen:
    """What the API server's `document` of a Secret says. Raises KubeUnreachableError if that is none."""
    metadata = document.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise _no_secret("metadata")
    annotations = _texts(metadata, "annotations")
    try:
        values = {key: base64.b64decode(text) for key, text in _texts(document, "data").items()}
    except ValueError as error:
        raise _no_secret("data") from error
    return Seen(
        resource_version=str(metadata.get("resourceVersion", "")),
        type=str(document.get("type", "")),
        immutable=document.get("immutable") is True,
        label=_texts(metadata, "labels").get(LABEL),
        annotations={
            name.removeprefix(PREFIX): text for name, text in annotations.items() if name.startswith(PREFIX)
        },
        values=values,
    )


def _texts(document: Mapping[str, Any], field: str) -> dict[str, str]:
    """The texts by name in that field; none where it is missing. Raises KubeUnreachableError."""
    found = document.get(field) or {}
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise _no_secret(field)
    return found


def _no_secret(field: str) -> KubeUnreachableError:
    return KubeUnreachableError(f"what it gives is no Secret, by its {field}: is this an API server?")


def formats_by_key(data: Iterable[tuple[str, str]], template: str | None) -> dict[str, Format]:
    """The format of each key. Only keys with the format template use `template`."""
    return {key: Format(name, template if name == "template" else None) for key, name in data}


def planned(secret: str, home: str, owner: str, forms: Mapping[str, Format], issuer_url: str) -> Plan:
    """The plan for a Secret [NAMESPACE/]NAME. `home` is the default namespace of the Secret and its owner."""
    namespace, name = namespaced(secret, home)
    return Plan(namespace, name, "/".join(namespaced(owner, home)), forms, issuer_url)


def holding(found: Seen, plan: Plan, now: Instant) -> Holding:
    """What consumers of this Secret have. Values that the annotations do not describe have no known end.

    It is intact if a write of the same token would change nothing: so not in another installation's Secret.
    """
    described = _described(found.annotations, now)
    if described is None or not found.is_unaltered:
        return Holding(owner=found.owner)
    facts, identity = described.facts, described.format
    intact = (
        identity == plan.identity
        and found.owner == plan.owner
        and found.label is not None
        and found.type == TYPE
        and not found.immutable
    )
    forms = {key: formats.of_identity(identity) for key, identity in (found.recorded or {}).items()}
    credentials = _credentials(found.values, forms, facts)
    if credentials is not None:
        access, refresh = credentials
        return Holding(facts, Token(facts, access, refresh), intact, found.owner, described.proof)
    only_templates = all(form.name == "template" for form in forms.values())
    if not only_templates:
        return Holding(owner=found.owner)
    return Holding(facts, None, intact, found.owner, described.proof)


def objection(found: Seen | None, plan: Plan, values: Mapping[str, bytes]) -> str | None:
    """Why `values` must not be written into what was found, and what to do about it; None if they may be.

    What another installation or anybody else keeps there is not overwritten. An empty value is nobody's: a
    Secret may be prepared with the keys in it.
    """
    if found is None:
        return _excess(values, {})
    if found.owner not in ("", plan.owner):
        return (
            f"it belongs to {found.owner!r}, and this installation is {plan.owner!r}: name another Secret, "
            f"or hand this one over by deleting its annotation {OWNER}"
        )
    if found.type != TYPE:
        return f"its type is {found.type!r}, not {TYPE!r}, and stays so: delete it, or name another Secret"
    if found.immutable:
        return "it is immutable (immutable: true): delete it, or name another Secret"
    known = _keys_of_ours(found, plan)
    strangers = [key for key in values if found.values.get(key) and key not in known]
    if strangers:
        return (
            f"somebody else keeps a value in it under {', '.join(strangers)}: name another key or Secret, or "
            "delete that key from it"
        )
    others = found.values.keys() - values.keys() - known
    return _excess(values, {key: found.values[key] for key in others})


def manifest(
    found: Seen | None, plan: Plan, facts: TokenFacts, values: Mapping[str, bytes], sealer: Sealer
) -> dict[str, Any]:
    """The manifest to apply so that the Secret holds `values` and their sealed record. Applying it conflicts
    if the Secret has changed since it was `found`.

    It contains everything that we own in the Secret: applying it removes our former keys that it omits. A
    label that others have set stays theirs.
    """
    sha256 = digest(values)
    fields = record.fields(sha256, record.sealed(sha256, Entry(plan.identity, facts), sealer))
    annotations = {_annotation(name): _text(value) for name, value in fields.items()}
    label = found.label if found is not None else None
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": plan.secret,
            "namespace": plan.namespace,
            "resourceVersion": found.resource_version if found is not None else NEVER,
            "labels": {LABEL: LABELLED} if label in (None, LABELLED) else {},
            "annotations": {OWNER: plan.owner} | {PREFIX + name: text for name, text in annotations.items()},
        },
        "type": TYPE,
        "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
    }


def _keys_of_ours(found: Seen, plan: Plan) -> set[str]:
    """The keys whose values may be replaced: those that a refresher wrote. In our own Secret also if they
    were altered since, in one that is nobody's only as they were written."""
    recorded = found.recorded
    if found.owner:
        return set(plan.formats if recorded is None else recorded)
    return set(recorded or ()) if found.is_unaltered else set()


def _described(annotations: Mapping[str, str], now: Instant) -> Entry | None:
    """What the annotations say, if they make sense."""
    recorded: dict[str, object] = {name.replace("-", "_"): text for name, text in annotations.items()}
    try:
        for name in _NOT_TEXT:
            recorded[name] = json.loads(annotations.get(_annotation(name), ""))
    except (ValueError, RecursionError):
        return None
    entry = record.described(recorded, now)
    return entry and entry[1]


def _credentials(
    values: Mapping[str, bytes], forms: Mapping[str, Format], facts: TokenFacts
) -> Credentials | None:
    """The token that `facts` describe, with its refresh token if a value has it; None if no value has it."""
    read = [formats.read_back(form, values[key]) for key, form in forms.items()]
    known = [each for each in read if each is not None and each[0].fingerprint == facts.fingerprint]
    return max(known, key=lambda each: each[1] is not None, default=None)


def _identities(text: str) -> dict[str, str] | None:
    try:
        recorded = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(recorded, dict) or not all(isinstance(each, str) for each in recorded.values()):
        return None
    return recorded


def _annotation(field: str) -> str:
    return field.replace("_", "-")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _json(mapping: Mapping[str, str]) -> str:
    return json.dumps(mapping, sort_keys=True)


def _excess(values: Mapping[str, bytes], others: Mapping[str, bytes]) -> str | None:
    """Why a Secret has no room for `values` beside what `others` keep in it; None if it has."""
    theirs = sum(map(len, others.values()))
    size = theirs + sum(map(len, values.values()))
    if size <= LARGEST_SECRET:
        return None
    return (
        f"it would hold {size} bytes, {theirs} of them others', and a Secret takes {LARGEST_SECRET}: name a "
        "Secret of its own, or fewer formats"
    )
