"""What clients may take, each of them and all together."""

import resource
from typing import NamedTuple

_RESERVE = (
    24  # descriptors: standard streams, sockets and files of one refresh, and room for what is imported
)


class Limits(NamedTuple):
    """Seconds, bytes, and a number of connections.

    ``head``: until the whole head of a request has come. ``body``: then, until its body has come.
    ``answer``: until the whole answer has gone, as long as Prometheus waits by default (scrape_timeout).
    ``idle``: between two requests; 0 closes each connection after one. ``farewell``: until the client has
    closed its side.

    ``head_size``, ``body_size``: of one request. ``responses``: of all answers in memory; for more than that,
    the oldest of several is closed.

    ``connections``: for one more, another is closed: the one that has been idle longest, else the one with
    the oldest request. One connection is accepted a turn, so that a prompt client is through long before it
    is the oldest, however many others come.
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
    """How many connections, up to `wanted`, leave the rest of the process the descriptors that it needs.

    `descriptors`: how many the process may have; else what the system says.
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
