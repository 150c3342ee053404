"""Which of several `AccessToken` objects gets a Secret. No I/O."""

from collections.abc import Iterable

from refresher.controller.known import Known


def rivals(objects: Iterable[tuple[Known, tuple[str, str]]]) -> dict[str, str]:
    """The objects that do not get their Secret, by uid, each with the name of the object that gets it.

    `objects`: each with namespace and name of the Secret it demands. The oldest object wins, so that a new
    one takes nothing away. Of objects of the same second, the uid decides, which every process knows: a
    fail-over changes nothing.
    """
    claims: dict[tuple[str, str], list[Known]] = {}
    for known, secret in objects:
        claims.setdefault(secret, []).append(known)
    losing: dict[str, str] = {}
    for claimants in claims.values():
        winner, *others = sorted(claimants, key=_age)
        losing |= {known.uid: winner.name for known in others}
    return losing


def mistake(winner: str) -> str:
    """What the status of an object says that does not get its Secret."""
    return (
        f"spec.secret.name: is the Secret of the older AccessToken {winner}; name another Secret, or delete "
        "one of the two"
    )


def _age(known: Known) -> tuple[str, str]:
    return known.created, known.uid
