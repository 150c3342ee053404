"""The status of an `AccessToken`, from the status of its token. No I/O.

Ready means that the Secret holds a valid token, as `/readyz` does. While it does and something fails all the
same, the condition stays true, and its reason names the failure: consumers are served, but somebody must act.
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from refresher.core import rfc3339
from refresher.core.advice import Code
from refresher.core.model import Outcome
from refresher.core.problems import Problem
from refresher.core.status import TokenStatus

READY, KEY_ACCEPTED = "Ready", "KeyAccepted"
VALID, ACCEPTED = "valid", "accepted"  # reasons while all is well
INVALID, NOT_STARTED, NOT_TRIED = "invalid", "not_started", "not_tried"
LONGEST_MESSAGE = 4096  # characters; Kubernetes allows 32768 (metav1.Condition)

_REFUSED = Outcome.KEY_REFUSED.value
# Instead of the advice of a status: here keys are in Secrets, and their messages say what to do.
_ADVICE = {_REFUSED: "put a valid key into the key Secret", Code.KEY_UNREADABLE.value: ""}


class Condition(NamedTuple):
    """A condition of an object. `reason`: the code of a problem as in `refresher status`, or a constant of
    this module."""

    type: str
    holds: bool | None  # None: unknown
    reason: str
    message: str

    @property
    def status(self) -> str:
        """As Kubernetes writes it."""
        return "Unknown" if self.holds is None else str(self.holds)


def conditions(token: TokenStatus | None, mistakes: Sequence[str]) -> tuple[Condition, Condition]:
    """Ready and KeyAccepted. `token`: None if the object has no token yet. `mistakes`: why the object cannot
    be used as it is; its former token, if there is one, is kept fresh."""
    return _ready(token, mistakes), _key_accepted(token)


def _ready(token: TokenStatus | None, mistakes: Sequence[str]) -> Condition:
    valid = token is not None and token.valid
    if mistakes:
        return Condition(READY, valid, INVALID, "; ".join(mistakes))
    if token is not None and token.problems:
        worst = token.problems[0]
        return Condition(READY, valid, worst.code, _sentence(worst))
    if valid:
        return Condition(READY, valid, VALID, "the Secret holds a valid token")
    return Condition(READY, valid, NOT_STARTED, "the refresher has not begun with this object yet")


def _key_accepted(token: TokenStatus | None) -> Condition:
    """A refusal stands until the issuer accepts the key, also while later attempts fail otherwise."""
    accepted = token.key_accepted if token is not None and token.issued is not None else None
    if token is not None and token.key_accepted is False:
        accepted = False
    for problem in token.problems if token is not None else ():
        if problem.code == Code.KEY_UNREADABLE:
            return Condition(KEY_ACCEPTED, None, problem.code, _sentence(problem))
        if problem.code == _REFUSED:
            return Condition(KEY_ACCEPTED, accepted, problem.code, _sentence(problem))
    match accepted:
        case None:
            return Condition(KEY_ACCEPTED, accepted, NOT_TRIED, "the issuer has not judged the key yet")
        case False:
            return Condition(
                KEY_ACCEPTED, accepted, _REFUSED, "the issuer refused the key when it last judged it"
            )
        case True:
            return Condition(KEY_ACCEPTED, accepted, ACCEPTED, "the issuer has minted a token with the key")


def _sentence(problem: Problem) -> str:
    advice = _ADVICE.get(problem.code, problem.advice)
    return f"{problem.message}; {advice}" if advice else problem.message


def object_status(
    document: Mapping[str, Any],
    token: TokenStatus | None,
    mistakes: Sequence[str],
    now: float,
) -> dict[str, Any]:
    """The status for the object in this `document`. `now`: wall time, for conditions that change; others keep
    the time of their last transition."""
    generation = document["metadata"].get("generation", 0)
    before = dict(_transitions(document))
    found = conditions(token, mistakes)
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": [
            {
                "type": condition.type,
                "status": condition.status,
                "observedGeneration": generation,
                "lastTransitionTime": before.get((condition.type, condition.status), rfc3339.to_second(now)),
                "reason": condition.reason,
                "message": condition.message[:LONGEST_MESSAGE],
            }
            for condition in found
        ],
    }
    if token is not None and token.expires is not None:
        status |= {"expiresAt": rfc3339.to_second(token.expires), "tokenFingerprint": token.token_fingerprint}
    if token is not None and token.refresh_due is not None:
        status["refreshDue"] = rfc3339.to_second(token.refresh_due)
    return status


def _transitions(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    """When each condition in `document` took the status that it has."""
    status = document.get("status")
    listed = status.get("conditions") if isinstance(status, Mapping) else None
    for condition in listed if isinstance(listed, list) else ():
        if isinstance(condition, Mapping):
            known = [condition.get(name) for name in ("type", "status", "lastTransitionTime")]
            if all(isinstance(text, str) for text in known):
                kind, value, since = map(str, known)
                yield (kind, value), since
