"""Reads the token from a file that the refresher writes."""

import json
import os
import re

from refresher.client.source import BEARER_TOKEN, TokenSource, TokenUnavailableError

_LARGEST = 64 * 2**10  # bytes; a token takes a few hundred
_PLAIN = re.compile(rf"(?:(?:Authorization: )?Bearer )?({BEARER_TOKEN.pattern})\s*")

_Identity = tuple[int, int, int, int]


class TokenFile(TokenSource):
    """A file in the format ``token``, ``bearer``, ``header`` or ``json``; it recognises which.

    Each call looks at the file's identity and times. That costs one system call; the file is read only if
    they have changed. The refresher replaces a file by a rename, so a new token is a new file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._read: tuple[_Identity, str] | None = None  # replaced whole: threads need no lock

    def __repr__(self) -> str:
        return f"TokenFile({self._path!r})"

    def token(self) -> str:
        try:
            known = self._read
            if known is not None and known[0] == _identity(os.stat(self._path)):
                return known[1]
            with open(self._path, "rb") as file:
                identity = _identity(os.fstat(file.fileno()))
                content = file.read(_LARGEST)
        except OSError as error:
            raise TokenUnavailableError(f"{self._path} cannot be read: {error.strerror}") from error
        token = _token_in(content)
        if token is None:
            raise TokenUnavailableError(
                f"{self._path} holds no token; accepted: the formats token, bearer, header, json"
            )
        self._read = identity, token
        return token

    def after(self, expired: str) -> str:  # noqa: ARG002 -- what is in the file is all there is
        """What is in the file now. This does not wait for another: the refresher replaces a token long before
        it expires, so a file that still holds an expired one changes late or never."""
        return self.token()


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _token_in(content: bytes) -> str | None:
    try:
        text = content.decode()
        if text.startswith("{"):
            return bearer_token(json.loads(text))
    except (ValueError, RecursionError):  # not UTF-8, not JSON
        return None
    match = _PLAIN.fullmatch(text)
    return match[1] if match else None


def bearer_token(document: object) -> str | None:
    """The token in a document of the format ``json``."""
    match document:
        case {"access_token": str(token)} if BEARER_TOKEN.fullmatch(token):
            return token
    return None
