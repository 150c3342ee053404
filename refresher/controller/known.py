"""What is kept in memory of `AccessToken` objects and of Secrets with keys. No I/O."""

import base64
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from refresher.config.kube_metadata import OUR_PREFIX
from refresher.controller.spec import Demand, demand
from refresher.core import rfc3339
from refresher.core.keytext import parse_key
from refresher.core.model import SecretStr
from refresher.errors import ConfigurationError
from refresher.outputs.secret_body import REFRESH

KEY_LABEL = f"{OUR_PREFIX}key"  # on the Secrets with application keys
KEY_SELECTOR = f"{KEY_LABEL}=true"


class Known(NamedTuple):
    """An `AccessToken` object, as far as the controller needs it.

    `demand`: what it demands, or, if it has mistakes, what it demanded before them; None if there was nothing
    before. `refresh`: the wall time that the annotation REFRESH names.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    created: str
    demand: Demand | None
    mistakes: tuple[str, ...] = ()
    refresh: float | None = None

    @property
    def token(self) -> str:
        """The name of its token."""
        return f"{self.namespace}/{self.name}"


class Stored(NamedTuple):
    """An object as the API server has it. `status`: as `status_text`."""

    known: Known
    version: int
    status: str


def stored(document: Mapping[str, Any], before: Stored | None, longest: float) -> Stored | None:
    """The object in this `document`. `before`: the object that had this name until now. `longest`: see
    `spec.demand`. If only the status has changed, `known` is the same object as before.

    None for an object that is being deleted: its Secret may be deleted first, and must not come back.
    """
    metadata = document["metadata"]
    if metadata.get("deletionTimestamp"):
        return None
    former = before.known if before is not None and before.known.uid == str(metadata["uid"]) else None
    found = _known(document, former, longest)
    status = document.get("status")
    return Stored(
        former if former is not None and former == found else found,
        version_of(document),
        status_text(status if isinstance(status, Mapping) else {}),
    )


def version_of(document: Mapping[str, Any]) -> int:
    """The resourceVersion of an object: a higher one is newer. 0 if there is none."""
    version = str(document.get("metadata", {}).get("resourceVersion", ""))
    return int(version) if version.isdigit() else 0


def status_text(status: Mapping[str, Any]) -> str:
    """Equal statuses have equal texts. A text takes a quarter of the memory of the status."""
    return json.dumps(status, sort_keys=True, separators=(",", ":"))


def _known(document: Mapping[str, Any], before: Known | None, longest: float) -> Known:
    """The object in this `document`. `before`: the same object until now."""
    metadata = document["metadata"]
    generation = int(metadata.get("generation", 0))
    found = Known(
        metadata["namespace"],
        metadata["name"],
        str(metadata["uid"]),
        generation,
        str(metadata.get("creationTimestamp", "")),
        before.demand if before else None,
        before.mistakes if before else (),
    )
    if before is None or before.generation != generation:
        found = _judged(found, document, longest)
    refresh, mistake = _refresh_requested(metadata)
    mistakes = tuple(text for text in found.mistakes if not text.startswith(_REFRESH_FIELD))
    return found._replace(refresh=refresh, mistakes=mistakes + mistake)


def _judged(found: Known, document: Mapping[str, Any], longest: float) -> Known:
    """The object with its demand, or with its mistakes beside what it demanded before."""
    try:
        return found._replace(demand=demand(document, longest), mistakes=())
    except ConfigurationError as error:
        return found._replace(mistakes=tuple(map(str, error.problems)))


_REFRESH_FIELD = f"metadata.annotations.{REFRESH}"


def _refresh_requested(metadata: Mapping[str, Any]) -> tuple[float | None, tuple[str, ...]]:
    """The time in the annotation REFRESH, or what is wrong with it."""
    text = (metadata.get("annotations") or {}).get(REFRESH)
    if text is None:
        return None, ()
    try:
        return rfc3339.parse(text), ()
    except ValueError:
        problem = 'is not a time; write one such as 2026-11-05T10:20:00Z: "$(date -u +%FT%TZ)"'
        return None, (f"{_REFRESH_FIELD}: {problem}",)


Keys = Mapping[str, SecretStr | str]  # by key of the Secret: the application key, or why it is none


def keys_in(document: Mapping[str, Any], before: Keys | None) -> Keys:
    """The application keys in a Secret. The same object as `before` if they have not changed."""
    data = document.get("data") or {}
    found = {str(name): _key(text) for name, text in data.items()}
    return before if before == found and before is not None else found


def _key(text: Any) -> SecretStr | str:
    try:
        return parse_key(base64.b64decode(text or ""))
    except (ValueError, TypeError) as error:
        return str(error)
