"""Limits for each client and for all clients together."""

import resource
from typing import NamedTuple

_RESERVE = 24  # descriptors: standard streams, sockets and files of one refresh, modules being imported


class Limits(NamedTuple):
    """Limits in seconds, bytes and connections.

    Seconds: ``head`` to receive the head of a request, then ``body`` to receive its body. ``answer`` to send
    the response; Prometheus waits as long by default (scrape_timeout). ``idle`` between two requests; 0
    closes each connection after one request. ``farewell`` for the client to close its side.

    Bytes: ``head_size``, ``body_size`` of one request. ``responses`` of all responses in memory; above that,
    the server closes the connections with the oldest requests, but never the newest.

    ``connections``: for one more, the server closes the one that has been idle longest, else the one with the
    oldest request. It accepts one connection per turn of its loop, so a prompt client is served long before
    it is the oldest, however many others come.
    """

    head: float = 5.0
    body: float = 10.0
    answer: float = 10.0
    idle: float = 30.0
    farewell: float = 1.0
    head_size: int = 16 * 2**10
    body_size: int = 64 * 2**10
    connections: int = 32
    responses: int = 32 * 2**20


def affordable_connections(wanted: int, descriptors: int | None = None) -> int:
    """The number of connections, up to `wanted`, that leaves the rest of the process enough descriptors.

    `descriptors`: the limit of this process; by default the system's (RLIMIT_NOFILE).
    """
    if descriptors is None:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (descriptors - _RESERVE) // 2))


def allow_connections(wanted: int) -> None:
    """Raise this process' soft limit of descriptors, as far as the hard one allows, until so many connections
    are affordable."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * wanted + _RESERVE
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
