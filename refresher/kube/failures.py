"""What it means that no answer came: every exception of the HTTP client, in a sentence.

No text of a foreign exception is passed on: those hold header values, a proxy's password, first lines of
bodies. What is told comes from the operating system's or OpenSSL's own error, down in the chain.
"""

import socket
import ssl
from collections.abc import Callable, Iterator
from http.client import HTTPException, IncompleteRead
from typing import Any

from urllib3.exceptions import ProxyError
from urllib3.exceptions import TimeoutError as PoolTimeoutError

from refresher.bounded import AnswerTooLongError
from refresher.core.durations import shown_seconds
from refresher.resolver import UnresolvedError
from refresher.trust import UnusableError


def failure(error: BaseException, server: str, seconds: float, problem: str = "") -> str:
    """Why a request to `server`, that was given `seconds`, has no answer. `problem`: why the files for TLS,
    as they are now, are not in use."""
    chain = tuple(_causes(error))
    whom = "the proxy to " if any(isinstance(each, ProxyError) for each in chain) else ""
    for kind, told in _MEANINGS:
        for cause in chain:
            if isinstance(cause, kind):
                text = told(cause, f"{whom}the API server {server}", seconds)
                is_of_tls = problem and isinstance(cause, ssl.SSLError)
                return f"{text}, as read before: now {problem}" if is_of_tls else text
    return f"the API server {server} cannot be asked: {type(error).__name__}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error itself and what led to it, down to the first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        wrapped = next((each for each in cause.args if isinstance(each, BaseException)), None)
        cause = cause.__cause__ or cause.__context__ or wrapped


def _late(_: BaseException, server: str, seconds: float) -> str:
    return f"no whole answer from {server} within {shown_seconds(seconds)} s"


def _unverified(error: ssl.SSLCertVerificationError, server: str, _: float) -> str:
    return f"the TLS certificate of {server} could not be verified: {error.verify_message.rstrip('.')}"


def _tls(error: ssl.SSLError, server: str, _: float) -> str:
    return f"TLS with {server} failed: {(error.reason or 'no reason given').lower().replace('_', ' ')}"


def _lost(error: ConnectionError, server: str, _: float) -> str:
    return f"{server}: {error.strerror or 'closed the connection without an answer'}"


_MEANINGS: tuple[tuple[type[BaseException], Callable[[Any, str, float], str]], ...] = (
    (UnusableError, lambda e, _, __: str(e)),
    (UnresolvedError, lambda e, _, __: str(e)),
    (AnswerTooLongError, lambda e, server, _: f"the answer of {server} is {e}"),
    (TimeoutError, _late),
    (ssl.SSLCertVerificationError, _unverified),
    (ssl.SSLEOFError, lambda _, server, __: f"{server} broke off TLS"),
    (ssl.SSLError, _tls),
    (socket.gaierror, lambda e, server, _: f"the name of {server} cannot be resolved: {e.strerror}"),
    (ConnectionError, _lost),  # refused, reset, broken pipe, RemoteDisconnected
    (IncompleteRead, lambda _, server, __: f"the answer of {server} was cut off"),  # urllib3's is one, too
    (HTTPException, lambda _, server, __: f"{server} does not speak HTTP"),
    (OSError, lambda e, server, _: f"{server}: {e.strerror or 'no connection'}"),
    (PoolTimeoutError, _late),  # nothing was left to wait for the answer; NewConnectionError is one, too
)
"""What is told of each kind. The first that fits counts."""
