"""Where a program gets its token, from a file or from the consumers' listener."""

import logging
import re
from abc import ABC, abstractmethod

EXPIRED_HEADER = "X-Access-Token-Expired"  # with a 403: only its presence counts
BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # b64token of RFC 6750 §2.1

_log = logging.getLogger("refresher.client")


class TokenUnavailableError(OSError):
    """There is no token to send: no such file, no answer from the listener. The text says where and why, and
    contains no token."""


class TokenSource(ABC):
    """Any thread may call its methods."""

    @abstractmethod
    def token(self) -> str:
        """The current token. Raises TokenUnavailableError."""

    @abstractmethod
    def after(self, expired: str) -> str:
        """The token to use in place of `expired`; `expired` itself if there is no other.

        Raises TokenUnavailableError.
        """

    def replacement(self, expired: str) -> str | None:
        """The token that replaces `expired`. None, with a warning in the log, if there is none."""
        try:
            token = self.after(expired)
        except TokenUnavailableError as error:
            _log.warning("the access token has expired, and there is no new one: %s", error)
            return None
        if token == expired:
            _log.warning("the access token has expired, and there is no new one yet")
            return None
        return token


def says_expired(status: int, has_header: bool, sent: str | bytes | None, token: str) -> bool:  # noqa: FBT001
    """Whether a response reports that `token` has expired. `sent`: the request's Authorization; after a
    redirect to another host that is not our token, and the response is not about it."""
    return status == 403 and has_header and sent == authorization(token)


def authorization(token: str) -> str:
    return f"Bearer {token}"
