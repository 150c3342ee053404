"""The token of the Pod's service account. Kubelet mounts it and replaces it well before it expires."""

import base64
import json
import os
import re
from typing import NamedTuple, Protocol

from refresher.errors import KubeConfigError

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")  # valid in a header (RFC 9110 §5.5), without white space
_LONGEST = 64 * 1024  # bytes; a token of the TokenRequest API is about a thousand


class Credentials(Protocol):
    """Provides the Authorization header. Its value is None if the only credential is a client certificate."""

    def authorization(self) -> str | None:
        """The value for the next request."""

    def after_refusal(self) -> str | None:
        """The value after a 401, from the source read again."""


class Pod(NamedTuple):
    """The Pod that this process runs in."""

    name: str
    uid: str


class TokenFile:
    """Reads the file for each request, which takes microseconds. So a new token is used at once.

    While the file is missing, empty or malformed, the last good token stays in use.
    """

    def __init__(self, path: str) -> None:
        """Raises KubeConfigError if the file contains no token now."""
        self.path = path
        self._token = self._read()
        if self._token is None:
            raise KubeConfigError(
                f"{path} contains no token of a service account: is automountServiceAccountToken off?"
            )

    def authorization(self) -> str:
        """The value of an Authorization header."""
        token = self._token = self._read() or self._token
        return f"Bearer {token}"

    def after_refusal(self) -> str:
        """The value to retry with after a 401. Kubelet may have replaced the token meanwhile."""
        return self.authorization()

    def pod(self) -> Pod | None:
        """The Pod that the token names; None if the token is bound to no Pod.

        https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
        """
        try:
            claims = base64.urlsafe_b64decode((self._token or "").split(".")[1] + "==")
            pod = json.loads(claims)["kubernetes.io"]["pod"]
            return Pod(str(pod["name"]), str(pod["uid"]))
        except (LookupError, TypeError, ValueError, RecursionError):  # not a JWT with these claims
            return None

    def _read(self) -> str | None:
        try:
            with open(self.path, "rb", opener=_open) as file:
                token = file.read(_LONGEST).decode("ascii").strip()
        except (OSError, ValueError):  # reported by the API server's 401 when the last good token has expired
            return None
        return token if _VISIBLE_ASCII.fullmatch(token) else None


def _open(path: str, flags: int) -> int:
    """Tries twice. Kubelet swaps a symbolic link and then removes the old directory, perhaps while we open
    a file in it."""
    flags |= os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        return os.open(path, flags)


def namespace_in(path: str) -> str:
    """The namespace in this file; empty without the file. Raises KubeConfigError."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise KubeConfigError(f"{path} cannot be read: {error}") from error
