"""Which of several `AccessToken` objects gets a Secret. No I/O."""

from collections.abc import Iterable, Mapping
from typing import Any


def rivals(objects: Iterable[tuple[Mapping[str, Any], tuple[str, str]]]) -> dict[str, str]:
    """The objects that do not get their Secret, by uid, each with the name of the object that gets it.

    `objects`: the metadata of each valid object, with namespace and name of the Secret it demands. The oldest
    object wins, so that a new one takes nothing away. Of objects of the same second, the uid decides, which
    every process knows: a fail-over changes nothing.
    """
    claims: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for metadata, secret in objects:
        claims.setdefault(secret, []).append(metadata)
    losing: dict[str, str] = {}
    for claimants in claims.values():
        winner, *others = sorted(claimants, key=_age)
        losing |= {metadata["uid"]: winner["name"] for metadata in others}
    return losing


def mistake(winner: str) -> str:
    """What the status of an object says that does not get its Secret."""
    return (
        f"spec.secret.name: is the Secret of the older AccessToken {winner}; name another Secret, or delete "
        "one of the two"
    )


def _age(metadata: Mapping[str, Any]) -> tuple[str, str]:
    return metadata["creationTimestamp"], metadata["uid"]
