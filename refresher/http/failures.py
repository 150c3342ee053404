"""Why a request got no response: every exception of an HTTP client, as one of our outcomes with a message.

No text of a foreign exception is passed on: those hold URLs with a proxy's password, header values, first
lines of bodies. The message comes from the operating system's or OpenSSL's own error, down in the chain.
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
    """`passes`: whether a failure of this kind passes by itself within a second. `untrusted`: nobody whom we
    trust has signed the server's certificate; the client may know what to do about it."""

    outcome: Outcome
    message: str
    passes: bool = False
    untrusted: bool = False


class Peer(NamedTuple):
    """The server of a client. `name` is for a person to read. `proxy`: the host and port of the proxy on the
    way, if there is one. `trust`: whom the client trusts, None if it does not speak TLS."""

    name: str
    proxy: str | None
    trust: Trust | None


class _Request(NamedTuple):
    """What failed: `name` is the server's or the proxy's, whichever caused the failure."""

    name: str
    seconds: float
    connecting: bool


def failure(error: BaseException, peer: Peer, seconds: float) -> Failure:
    """What `error` means. It ended a request to `peer` that had `seconds`."""
    chain = tuple(causes(error))
    by_proxy = any(isinstance(each, ProxyError) for each in chain)
    name = f"the proxy {peer.proxy}" if by_proxy else peer.name
    request = _Request(name, seconds, any(isinstance(each, NewConnectionError) for each in chain))
    for kind, outcome, passes, message in _MEANINGS:
        for cause in chain:
            text = message(cause, request) if isinstance(cause, kind) else ""
            if text:
                untrusted = getattr(cause, "verify_code", None) in _UNTRUSTED
                return Failure(
                    outcome, text + _about_trust(cause, peer.trust, untrusted=untrusted), passes, untrusted
                )
    return Failure(Outcome.UNREACHABLE, f"{name}: no response ({type(error).__name__})")


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error itself and what led to it, down to the first.

    What urllib3 wraps without raising it, a TLS failure behind a proxy, is in the arguments of the wrapping.
    """
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        wrapped = next((each for each in cause.args if isinstance(each, BaseException)), None)
        cause = cause.__cause__ or cause.__context__ or wrapped


# X509_V_ERR_* of openssl-verification-options(1): nobody whom we trust has signed it
_UNTRUSTED = frozenset({2, 18, 19, 20, 21})


def _about_trust(cause: BaseException, trust: Trust | None, *, untrusted: bool) -> str:
    if trust is None or not isinstance(cause, ssl.SSLError):
        return ""
    signed = f"; no authority in {trust.authorities} has signed it" if untrusted else ""
    earlier = f"; the certificates in use were read earlier: now {trust.problem}" if trust.problem else ""
    return signed + earlier


def _timeout(_: TimeoutError, request: _Request) -> str:
    missing = "connection to" if request.connecting else "whole answer from"
    return f"no {missing} {request.name} within {shown_seconds(request.seconds)} s"


def _unverified(error: ssl.SSLCertVerificationError, request: _Request) -> str:
    why = error.verify_message.rstrip(".")
    return f"the TLS certificate of {request.name} could not be verified: {why}"


# What OpenSSL makes of an answer in plain text, depending on its version
_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)


def _tls(error: ssl.SSLError, request: _Request) -> str:
    text = f"TLS with {request.name} failed: {(error.reason or 'no reason given').lower().replace('_', ' ')}"
    return text + ("; does it speak HTTPS there?" if error.reason in _NO_TLS else "")


def _unresolved(error: socket.gaierror, request: _Request) -> str:
    is_silent = error.errno == socket.EAI_AGAIN
    whose = "; the resolver does not answer (see /etc/resolv.conf)" if is_silent else ""
    return f"the name of {request.name} cannot be resolved: {error.strerror}{whose}"


def _lost(error: ConnectionError, request: _Request) -> str:
    return f"{request.name}: {error.strerror or 'closed the connection without an answer'}"


def _system(error: OSError, request: _Request) -> str:
    """Empty for one that says nothing of its own, such as those of `requests`, which wrap others."""
    if error.strerror:
        return f"{request.name}: {error.strerror}"
    # http.client has no field for the status of a proxy that opens no tunnel, and the rest is its text
    status = re.search(r"Tunnel connection failed: ([0-9]{3})\b", str(error))
    return f"{request.name}: opens no tunnel, status {status[1]}" if status else ""


def _plain(error: OSError, _: _Request) -> str:
    return str(error)


_MEANINGS: tuple[tuple[type[BaseException], Outcome, bool, Callable[[Any, _Request], str]], ...] = (
    (ResponseTooLongError, Outcome.BAD_RESPONSE, False, lambda e, to: f"the answer of {to.name} is {e}"),
    (UnusableError, Outcome.UNREACHABLE, False, _plain),
    (UnresolvedError, Outcome.TIMEOUT, False, _plain),
    (TimeoutError, Outcome.TIMEOUT, False, _timeout),
    (ssl.SSLCertVerificationError, Outcome.UNREACHABLE, False, _unverified),
    (ssl.SSLEOFError, Outcome.UNREACHABLE, True, lambda _, to: f"{to.name} broke off TLS"),
    (ssl.SSLError, Outcome.UNREACHABLE, False, _tls),
    (socket.gaierror, Outcome.UNREACHABLE, False, _unresolved),
    (ConnectionError, Outcome.UNREACHABLE, True, _lost),  # refused, reset, broken pipe, RemoteDisconnected
    (IncompleteRead, Outcome.UNREACHABLE, True, lambda _, to: f"the answer of {to.name} was cut off"),
    (
        SpeaksTlsError,
        Outcome.BAD_RESPONSE,
        False,
        lambda _, to: f"{to.name} speaks TLS: should the URL begin with https://?",
    ),
    (HTTPException, Outcome.BAD_RESPONSE, False, lambda _, to: f"{to.name} does not speak HTTP"),
    (OSError, Outcome.UNREACHABLE, False, _system),
)
"""For each kind: the outcome, whether it passes by itself, the message. The first that fits counts."""
