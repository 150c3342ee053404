"""Turns each exception of an HTTP client into one of our outcomes with a message.

The message never quotes the client's exception, which may contain a proxy's password, header values or the
start of a body. It quotes the error of the operating system or of OpenSSL further down in the chain.
"""

import re
import socket
import ssl
from collections.abc import Callable, Iterator
from http.client import HTTPException, IncompleteRead
from typing import Any, NamedTuple

from urllib3.exceptions import NewConnectionError, ProxyError

from refresher.core.durations import shown_seconds
from refresher.core.model import Outcome
from refresher.core.values import distinct
from refresher.http.connections import ResponseTooLongError, SpeaksTlsError
from refresher.http.resolver import UnresolvedError
from refresher.http.trust import Trust, UnusableError


@distinct
class Failure(NamedTuple):
    """Why a request got no response. `is_transient`: a quick retry may succeed. `is_untrusted`: no trusted
    authority has signed the server's certificate. The caller may add advice."""

    outcome: Outcome
    message: str
    is_transient: bool = False
    is_untrusted: bool = False


class Peer(NamedTuple):
    """The server of a client. `name` appears in messages. `proxy`: host and port of the proxy, if any.
    `trust`: the trusted authorities; None without TLS."""

    name: str
    proxy: str | None
    trust: Trust | None


class _Request(NamedTuple):
    """A failed request. `name` is that of the peer that caused the failure: the server or the proxy."""

    name: str
    seconds: float
    connecting: bool


def failure(error: BaseException, peer: Peer, seconds: float) -> Failure:
    """The failure of a request to `peer` that ended with `error`. The request had `seconds`."""
    chain = tuple(causes(error))
    by_proxy = any(isinstance(cause, ProxyError) for cause in chain)
    name = f"the proxy {peer.proxy}" if by_proxy else peer.name
    request = _Request(name, seconds, any(isinstance(cause, NewConnectionError) for cause in chain))
    for kind, outcome, is_transient, message in _FAILURES:
        for cause in chain:
            text = message(cause, request) if isinstance(cause, kind) else ""
            if text:
                is_untrusted = getattr(cause, "verify_code", None) in _UNTRUSTED
                text += _about_trust(cause, peer.trust, is_untrusted=is_untrusted)
                return Failure(outcome, text, is_transient, is_untrusted)
    return Failure(Outcome.UNREACHABLE, f"{name}: no response ({type(error).__name__})")


def causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and its causes, down to the first.

    urllib3 sometimes wraps an error without raising it, such as a TLS failure behind a proxy. That error is
    in the arguments of the wrapping exception.
    """
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        wrapped = next((argument for argument in cause.args if isinstance(argument, BaseException)), None)
        cause = cause.__cause__ or cause.__context__ or wrapped


# X509_V_ERR_* of openssl-verification-options(1): no trusted authority has signed the certificate
_UNTRUSTED = frozenset({2, 18, 19, 20, 21})


def _about_trust(cause: BaseException, trust: Trust | None, *, is_untrusted: bool) -> str:
    if trust is None or not isinstance(cause, ssl.SSLError):
        return ""
    signed = f"; no authority in {trust.authorities} has signed it" if is_untrusted else ""
    old = f"; older certificates are in use, because now {trust.problem}" if trust.problem else ""
    return signed + old


def _timeout(_: TimeoutError, request: _Request) -> str:
    missing = "connection to" if request.connecting else "complete response from"
    return f"no {missing} {request.name} within {shown_seconds(request.seconds)} s"


def _unverified(error: ssl.SSLCertVerificationError, request: _Request) -> str:
    reason = error.verify_message.rstrip(".")
    return f"the TLS certificate of {request.name} could not be verified: {reason}"


# OpenSSL's errors for a response in plain text; they depend on its version
_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)


def _tls(error: ssl.SSLError, request: _Request) -> str:
    text = f"TLS with {request.name} failed: {(error.reason or 'no reason given').lower().replace('_', ' ')}"
    return text + ("; does this port speak HTTPS?" if error.reason in _NO_TLS else "")


def _unresolved(error: socket.gaierror, request: _Request) -> str:
    is_silent = error.errno == socket.EAI_AGAIN
    hint = "; the resolver does not answer (see /etc/resolv.conf)" if is_silent else ""
    return f"the name of {request.name} cannot be resolved: {error.strerror}{hint}"


def _lost(error: ConnectionError, request: _Request) -> str:
    return f"{request.name}: {error.strerror or 'closed the connection without a response'}"


def _system(error: OSError, request: _Request) -> str:
    """Returns "" for a mere wrapper, such as the exceptions of `requests`: its cause has the message."""
    if error.strerror:
        return f"{request.name}: {error.strerror}"
    # http.client reports the status of a failed tunnel only in this text. The rest is the proxy's own text.
    status = re.search(r"Tunnel connection failed: ([0-9]{3})\b", str(error))
    return f"{request.name}: opens no tunnel, status {status[1]}" if status else ""


def _plain(error: OSError, _: _Request) -> str:
    return str(error)


_FAILURES: tuple[tuple[type[BaseException], Outcome, bool, Callable[[Any, _Request], str]], ...] = (
    (ResponseTooLongError, Outcome.BAD_RESPONSE, False, lambda e, to: f"the response of {to.name} is {e}"),
    (UnusableError, Outcome.UNREACHABLE, False, _plain),
    (UnresolvedError, Outcome.TIMEOUT, False, _plain),
    (TimeoutError, Outcome.TIMEOUT, False, _timeout),
    (ssl.SSLCertVerificationError, Outcome.UNREACHABLE, False, _unverified),
    (ssl.SSLEOFError, Outcome.UNREACHABLE, True, lambda _, to: f"{to.name} closed the connection during TLS"),
    (ssl.SSLError, Outcome.UNREACHABLE, False, _tls),
    (socket.gaierror, Outcome.UNREACHABLE, False, _unresolved),
    (ConnectionError, Outcome.UNREACHABLE, True, _lost),  # refused, reset, broken pipe, RemoteDisconnected
    (IncompleteRead, Outcome.UNREACHABLE, True, lambda _, to: f"the response of {to.name} was cut off"),
    (
        SpeaksTlsError,
        Outcome.BAD_RESPONSE,
        False,
        lambda _, to: f"{to.name} speaks TLS: should the URL begin with https://?",
    ),
    (HTTPException, Outcome.BAD_RESPONSE, False, lambda _, to: f"{to.name} does not speak HTTP"),
    (OSError, Outcome.UNREACHABLE, False, _system),
)
"""For each kind of error: the outcome, whether it is transient, and the message. The first match counts."""
