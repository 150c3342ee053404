"""The token of a Pod's service account: kubelet mounts it, and replaces it well before it expires."""

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
    """Read for each request, which takes microseconds, so that a new token is used at once.

    While the file is missing, empty or contains no possible token, the last good one stays in use.
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
        """Read again, after the API server refused the last one: the file may have changed meanwhile."""
        return self.authorization()

    def pod(self) -> Pod | None:
        """The Pod that the token names; None if the token is bound to no Pod.

        https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
        """
        try:
            claims = base64.urlsafe_b64decode((self._token or "").split(".")[1] + "==")
            pod = json.loads(claims)["kubernetes.io"]["pod"]
            return Pod(str(pod["name"]), str(pod["uid"]))
        except (LookupError, TypeError, ValueError, RecursionError):  # not a JWT of this form
            return None

    def _read(self) -> str | None:
        try:
            with open(self.path, "rb", opener=_open) as file:
                token = file.read(_LONGEST).decode("ascii").strip()
        except (OSError, ValueError):  # the API server's 401 reports it, once the last good one has expired
            return None
        return token if _VISIBLE_ASCII.fullmatch(token) else None


def _open(path: str, flags: int) -> int:
    """Tries again if nothing is there: kubelet removes the old directory right after it has swapped the link,
    and we may have followed the old one."""
    flags |= os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        return os.open(path, flags)
