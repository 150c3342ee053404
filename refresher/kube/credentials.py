"""The token that kubelet mounts for the service account of a Pod, and replaces well before it expires."""

import base64
import json
import os
import re
from typing import NamedTuple

from refresher.errors import KubeConfigError

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")  # what can stand in a header: RFC 9110 §5.5, no white space
_LONGEST = 64 * 1024  # bytes; a token of the TokenRequest API is about a thousand


class Pod(NamedTuple):
    """The Pod that we run in."""

    name: str
    uid: str


class TokenFile:
    """Read for each request, which takes microseconds, so that a new token is in use at once.

    The last good one stays in use while the file is missing or empty or holds what cannot be a token.
    """

    def __init__(self, path: str) -> None:
        """Raises KubeConfigError if there is no token in it now."""
        self.path = path
        self._token = self._read()
        if self._token is None:
            raise KubeConfigError(
                f"there is no token of a service account in {path}; is automountServiceAccountToken off?"
            )

    def authorization(self) -> str:
        """The value of an Authorization header."""
        token = self._token = self._read() or self._token
        return f"Bearer {token}"

    def after_refusal(self) -> str:
        """What may be tried when the last was refused: the file may have changed meanwhile."""
        return self.authorization()

    def pod(self) -> Pod | None:
        """Whose token it is, as the token says; None for one that is bound to no Pod.

        https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
        """
        try:
            claims = base64.urlsafe_b64decode((self._token or "").split(".")[1] + "==")
            pod = json.loads(claims)["kubernetes.io"]["pod"]
            return Pod(str(pod["name"]), str(pod["uid"]))
        except (LookupError, TypeError, ValueError, RecursionError):  # of a kind that is not for us to read
            return None

    def _read(self) -> str | None:
        try:
            with open(self.path, "rb", opener=_open) as file:
                token = file.read(_LONGEST).decode("ascii").strip()
        except (OSError, ValueError):  # told by the API server's 401, once the last good one has expired
            return None
        return token if _VISIBLE_ASCII.fullmatch(token) else None


def _open(path: str, flags: int) -> int:
    """Once more if nothing is there: kubelet removes the old directory right after it has swapped the link to
    it, and we may have been on our way through."""
    flags |= os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        return os.open(path, flags)
