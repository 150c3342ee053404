"""Reads and builds the content of a Secret: the values, and annotations with their record.

    metadata:
      labels: {app.kubernetes.io/managed-by: inlive-token-refresher}  # and those of the plan, as annotations
      annotations:
        token-refresher.inlive.app/owner: inlive/inlive-token-refresher   # the installation that writes it
        token-refresher.inlive.app/issued-at: 2026-11-05T10:00:00.25Z     # and so on, as in a file's `record`
        token-refresher.inlive.app/format: {"access-token": "token"}      # of each of our keys
        token-refresher.inlive.app/sha256: 9f86…                          # `digest` of their values
        token-refresher.inlive.app/refresh: 2026-11-05T10:20:00Z          # others request a new token
    data: {access-token: …}

The digest and the annotation ``seal`` prove that values and annotations are as a holder of the application
key wrote them, as in a file's record. Values and annotations that were changed since are ignored. No I/O.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from refresher.config.kube_metadata import MANAGED_BY, OUR_PREFIX
from refresher.core import formats
from refresher.core.formats import Credentials, Format
from refresher.core.instant import Instant, from_wall
from refresher.core.model import Holding, Token, TokenFacts
from refresher.core.seal import Sealer
from refresher.errors import KubeUnreachableError
from refresher.kube.paths import NEVER
from refresher.outputs import record
from refresher.outputs.record import Entry
from refresher.outputs.secret_plan import Plan

PREFIX = OUR_PREFIX
OWNER = f"{PREFIX}owner"
REFRESH = f"{PREFIX}refresh"
LABEL, LABELLED = MANAGED_BY, "inlive-token-refresher"
TYPE = "Opaque"
LARGEST_SECRET = 1024 * 1024  # bytes of all values: MaxSecretSize, k8s.io/api/core/v1
SAME = 0.001  # seconds: two clocks that are read one after the other never agree exactly

_NOT_TEXT = ("lifetime", "requested_lifetime", "has_refresh_token")


class Seen(NamedTuple):
    """The parts of an existing Secret that we use. `annotations` has only ours, without their prefix."""

    resource_version: str
    type: str
    immutable: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    all_annotations: Mapping[str, str]
    values: Mapping[str, bytes]
    owner_uids: frozenset[str] = frozenset()  # of the objects that Kubernetes deletes it after

    def __repr__(self) -> str:
        """Leaves out the values, which are secret."""
        return f"<a Secret, resourceVersion {self.resource_version}>"

    @property
    def owner(self) -> str:
        """The installation that owns the Secret; "" if none does. Cut to the longest valid name."""
        return self.annotations.get("owner", "")[: record.LONGEST_OWNER]

    @property
    def recorded(self) -> dict[str, str] | None:
        """The identity of the format of each key that a refresher wrote; None if no refresher wrote any."""
        return _identities(self.annotations.get("format", ""))

    @property
    def is_unaltered(self) -> bool:
        """Whether all values are those that were written with the annotations."""
        recorded = self.recorded or {}
        if not recorded or recorded.keys() - self.values.keys():
            return False
        return digest({key: self.values[key] for key in recorded}) == self.annotations.get("sha256")


def digest(values: Mapping[str, bytes]) -> str:
    """The digest of all `values` together. Like `record.digest`, it reveals nothing about a token."""
    return record.digest(_json({key: record.digest(value) for key, value in values.items()}).encode())


def seen(document: Mapping[str, Any]) -> Seen:
    """The Secret in the API server's `document`. Raises KubeUnreachableError if it is not a Secret."""
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
        labels=_texts(metadata, "labels"),
        annotations={
            name.removeprefix(PREFIX): text for name, text in annotations.items() if name.startswith(PREFIX)
        },
        all_annotations=annotations,
        values=values,
        owner_uids=frozenset(str(owner.get("uid")) for owner in _owners(metadata)),
    )


def _owners(metadata: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = metadata.get("ownerReferences") or []
    if not isinstance(found, list) or not all(isinstance(owner, dict) for owner in found):
        raise _no_secret("metadata")
    return found


def _texts(document: Mapping[str, Any], field: str) -> dict[str, str]:
    """The strings by name in that field; empty if the field is missing. Raises KubeUnreachableError."""
    found = document.get(field) or {}
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise _no_secret(field)
    return found


def _no_secret(field: str) -> KubeUnreachableError:
    return KubeUnreachableError(
        f"the response is no Secret, because its {field} is malformed: is this an API server?"
    )


def holding(found: Seen, plan: Plan, now: Instant) -> Holding:
    """The token that consumers of this Secret have. If the annotations do not describe the values, its expiry
    is unknown.

    It is intact if a write of the same token would change nothing. So another installation's Secret never is.
    """
    described = _described(found.annotations, now)
    if described is None or not found.is_unaltered:
        return Holding(owner=found.owner)
    facts, identity = described.facts, described.format
    intact = (
        identity == plan.identity
        and found.owner == plan.owner
        and LABEL in found.labels
        and found.labels.items() >= set(plan.labels)
        and found.all_annotations.items() >= set(plan.annotations)
        and (plan.controller is None or plan.controller.uid in found.owner_uids)
        and found.type == TYPE
        and not found.immutable
    )
    recorded = {key: formats.of_identity(identity) for key, identity in (found.recorded or {}).items()}
    credentials = _credentials(found.values, recorded, facts)
    if credentials is not None:
        access, refresh = credentials
        return Holding(facts, Token(facts, access, refresh), intact, found.owner, described.proof)
    only_templates = all(format_.name == "template" for format_ in recorded.values())
    if not only_templates:
        return Holding(owner=found.owner)
    return Holding(facts, None, intact, found.owner, described.proof)


def as_of(holding: Holding, now: Instant) -> Holding:
    """`holding` as if it were read now: annotations record only the wall time."""
    if holding.facts is None:
        return holding
    issued = from_wall(holding.facts.issued.wall, now)
    if abs(issued.boot - holding.facts.issued.boot) < SAME:
        return holding  # the same objects, so that ten thousand tokens are in memory once
    facts = holding.facts._replace(issued=issued)
    return holding._replace(facts=facts, token=holding.token and holding.token._replace(facts=facts))


def objection(found: Seen | None, plan: Plan, values: Mapping[str, bytes]) -> str | None:
    """Why `values` must not be written into the Secret, and what to do; None if they may be.

    A write never replaces the values of another installation or client. An empty value may be replaced: an
    administrator may prepare a Secret with empty keys.
    """
    if found is None:
        return _excess(values, {})
    if found.owner not in ("", plan.owner):
        return (
            f"it belongs to {found.owner!r}, and this installation is {plan.owner!r}: name another Secret, "
            f"or hand this one over by deleting its annotation {OWNER}"
        )
    if found.type != TYPE:
        return (
            f"its type is {found.type!r}, not {TYPE!r}, and cannot change: delete it, or name another Secret"
        )
    if found.immutable:
        return "it is immutable (immutable: true): delete it, or name another Secret"
    ours = _our_keys(found, plan)
    foreign = [key for key in values if found.values.get(key) and key not in ours]
    if foreign:
        return (
            f"another client keeps a value in it under {', '.join(foreign)}: name another key or Secret, or "
            "delete that key from it"
        )
    others = found.values.keys() - values.keys() - ours
    return _excess(values, {key: found.values[key] for key in others})


def manifest(
    found: Seen | None, plan: Plan, facts: TokenFacts, values: Mapping[str, bytes], sealer: Sealer
) -> dict[str, Any]:
    """The manifest to apply so that the Secret holds `values` and their sealed record. Applying it conflicts
    if the Secret has changed since it was read as `found`.

    It contains everything that we own in the Secret. So applying it removes our former keys, labels and
    annotations. If another client has set LABEL, it stays theirs.
    """
    sha256 = digest(values)
    fields = record.fields(sha256, record.sealed(sha256, Entry(plan.identity, facts), sealer))
    label = found.labels.get(LABEL, LABELLED) if found is not None else LABELLED
    texts = {name: text if isinstance(text, str) else json.dumps(text) for name, text in fields.items()}
    ours = {OWNER: plan.owner} | {PREFIX + _annotation(name): text for name, text in texts.items()}
    owners = [plan.controller.reference()] if plan.controller is not None else []
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": plan.secret,
            "namespace": plan.namespace,
            "resourceVersion": found.resource_version if found is not None else NEVER,
            "labels": dict(plan.labels) | ({LABEL: LABELLED} if label == LABELLED else {}),
            "annotations": dict(plan.annotations) | ours,
            **({"ownerReferences": owners} if owners else {}),
        },
        "type": TYPE,
        "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
    }


def _our_keys(found: Seen, plan: Plan) -> set[str]:
    """The keys that a refresher wrote, so that their values may be replaced. If no installation owns the
    Secret, only while the values are unaltered."""
    recorded = found.recorded
    if found.owner:
        return set(plan.formats if recorded is None else recorded)
    return set(recorded or ()) if found.is_unaltered else set()


def _described(annotations: Mapping[str, str], now: Instant) -> Entry | None:
    """The entry in the annotations; None if they are malformed or inconsistent."""
    recorded: dict[str, object] = {name.replace("-", "_"): text for name, text in annotations.items()}
    try:
        for name in _NOT_TEXT:
            recorded[name] = json.loads(annotations.get(_annotation(name), ""))
    except (ValueError, RecursionError):
        return None
    entry = record.parse_entry(recorded, now)
    return entry and entry[1]


def _credentials(
    values: Mapping[str, bytes], recorded: Mapping[str, Format], facts: TokenFacts
) -> Credentials | None:
    """The token with these `facts`, with its refresh token if a value has one; None if no value has it."""
    read = [formats.read_back(format_, values[key]) for key, format_ in recorded.items()]
    matching = [found for found in read if found is not None and found[0].fingerprint == facts.fingerprint]
    return max(matching, key=lambda found: found[1] is not None, default=None)


def _identities(text: str) -> dict[str, str] | None:
    try:
        recorded = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(recorded, dict) or not all(isinstance(name, str) for name in recorded.values()):
        return None
    return recorded


def _annotation(field: str) -> str:
    return field.replace("_", "-")


def _json(mapping: Mapping[str, str]) -> str:
    return json.dumps(mapping, sort_keys=True)


def _excess(values: Mapping[str, bytes], others: Mapping[str, bytes]) -> str | None:
    """Why `values` do not fit into a Secret with the values of `others`; None if they fit."""
    theirs = sum(map(len, others.values()))
    size = theirs + sum(map(len, values.values()))
    if size <= LARGEST_SECRET:
        return None
    return (
        f"it would hold {size} bytes, {theirs} of them in keys of other clients, but a Secret holds at most "
        f"{LARGEST_SECRET}: name a separate Secret, or fewer formats"
    )
