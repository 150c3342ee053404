"""What it means that no answer came: every exception of the HTTP client, as one of our outcomes.

No text of a foreign exception is passed on: those hold URLs with a proxy's password, header values, first
lines of bodies. What is told comes from the operating system's or OpenSSL's own error, down in the chain.
"""

import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from http.client import HTTPException, IncompleteRead
from typing import Any, NamedTuple

from requests.exceptions import ProxyError, RequestException
from urllib3.exceptions import NewConnectionError

from refresher.bounded import AnswerTooLongError, SpeaksTlsError
from refresher.core.durations import shown_seconds
from refresher.core.model import Declined, Outcome
from refresher.resolver import UnresolvedError
from refresher.trust import Trust, UnusableError


class Peer(NamedTuple):
    """Whom we spoke to, for a person to read, and for how many seconds it had our patience."""

    name: str
    seconds: float
    connecting: bool
    trust: Trust


def failure(
    error: Exception, host: str, proxy: str | None, seconds: float, trust: Trust
) -> tuple[Declined, bool]:
    """What `error` means, and whether it is of the kind that passes by itself within a second.

    It ended a request to `host`, through `proxy` if there is one, that was given `seconds` and trusted
    `trust`.
    """
    proxied = any(isinstance(each, ProxyError) for each in causes(error))
    name = f"the proxy {proxy}" if proxied else host
    # those of requests are OSErrors too, which say nothing of their own
    chain = tuple(each for each in causes(error) if not isinstance(each, RequestException))
    connecting = any(isinstance(each, NewConnectionError) for each in chain)
    peer = Peer(name, seconds, connecting, trust)
    for kind, outcome, passes, told in _MEANINGS:
        for cause in chain:
            if isinstance(cause, kind):
                return Declined(outcome, told(cause, peer)), passes
    return Declined(Outcome.UNREACHABLE, f"the request cannot be made: {type(error).__name__}"), False


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error itself and what led to it, down to the first.

    What urllib3 wraps without raising it, a TLS failure behind a proxy, is in the arguments of the wrapping.
    """
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        wrapped = next((each for each in cause.args if isinstance(each, BaseException)), None)
        cause = cause.__cause__ or cause.__context__ or wrapped


def _timeout(_: TimeoutError, peer: Peer) -> str:
    missing = "connection to" if peer.connecting else "whole answer from"
    return f"no {missing} {peer.name} within {shown_seconds(peer.seconds)} s"


# X509_V_ERR_* of openssl-verification-options(1): nobody whom we trust has signed it
_UNTRUSTED = frozenset({2, 18, 19, 20, 21})


# Variables by which other programs are told whom to trust
_OTHERS = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def _unverified(error: ssl.SSLCertVerificationError, peer: Peer) -> str:
    why = error.verify_message.rstrip(".")
    text = f"the TLS certificate of {peer.name} could not be verified: {why}"
    return text + (_remedy(peer.trust) if error.verify_code in _UNTRUSTED else "")


def _remedy(trust: Trust) -> str:
    text = f"; no authority in {trust.authorities} has signed it"
    if trust.problem:
        return f"{text}, as read before: now {trust.problem}"
    if trust.ca_file:
        return f"{text}; if the issuer has changed to another authority, add its certificate there"
    others = [name for name in _OTHERS if os.environ.get(name)]
    hint = f" ({others[0]} is not read: SSL_CERT_FILE is)" if others else ""
    return f"{text}; if a private authority did, name its certificate in issuer.ca_file{hint}"


# What OpenSSL makes of an answer in plain text, depending on its version
_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)


def _tls(error: ssl.SSLError, peer: Peer) -> str:
    text = f"TLS with {peer.name} failed: {(error.reason or 'no reason given').lower().replace('_', ' ')}"
    return text + ("; does it speak HTTPS there?" if error.reason in _NO_TLS else "")


def _lost(error: ConnectionError, peer: Peer) -> str:
    return f"{peer.name}: {error.strerror or 'closed the connection without an answer'}"


def _system(error: OSError, peer: Peer) -> str:
    if error.strerror:
        return f"{peer.name}: {error.strerror}"
    # http.client has no field for the status of a proxy that opens no tunnel, and the rest is that one's text
    status = re.search(r"Tunnel connection failed: ([0-9]{3})\b", str(error))
    return f"{peer.name}: opens no tunnel, status {status[1]}" if status else f"{peer.name}: no connection"


def _whose(error: socket.gaierror) -> str:
    return "; the resolver does not answer (see /etc/resolv.conf)" if error.errno == socket.EAI_AGAIN else ""


_MEANINGS: tuple[tuple[type[BaseException], Outcome, bool, Callable[[Any, Peer], str]], ...] = (
    (AnswerTooLongError, Outcome.BAD_RESPONSE, False, lambda e, peer: f"the answer of {peer.name} is {e}"),
    (UnusableError, Outcome.UNREACHABLE, False, lambda e, _: str(e)),
    (UnresolvedError, Outcome.TIMEOUT, False, lambda e, _: str(e)),
    (TimeoutError, Outcome.TIMEOUT, False, _timeout),
    (ssl.SSLCertVerificationError, Outcome.UNREACHABLE, False, _unverified),
    (ssl.SSLEOFError, Outcome.UNREACHABLE, True, lambda _, peer: f"{peer.name} broke off TLS"),
    (ssl.SSLError, Outcome.UNREACHABLE, False, _tls),
    (
        socket.gaierror,
        Outcome.UNREACHABLE,
        False,
        lambda e, peer: f"the name of {peer.name} cannot be resolved: {e.strerror}{_whose(e)}",
    ),
    (ConnectionError, Outcome.UNREACHABLE, True, _lost),  # refused, reset, broken pipe, RemoteDisconnected
    (IncompleteRead, Outcome.UNREACHABLE, True, lambda _, peer: f"the answer of {peer.name} was cut off"),
    (
        SpeaksTlsError,
        Outcome.BAD_RESPONSE,
        False,
        lambda _, peer: f"{peer.name} speaks TLS: should the URL begin with https://?",
    ),
    (HTTPException, Outcome.BAD_RESPONSE, False, lambda _, peer: f"{peer.name} does not speak HTTP"),
    (OSError, Outcome.UNREACHABLE, False, _system),
)
"""For each kind: the outcome, whether it passes by itself, what is told. The first that fits counts."""
