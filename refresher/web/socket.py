"""The listening socket. In a module of its own: an address in use is told at start, before an HTTP server,
which takes long to import, is needed."""

import errno
import socket

from refresher.config.declarations import ListenAddress
from refresher.errors import ListenError

BACKLOG = 128  # connections that wait while the endpoints are not served yet; the kernel's usual bound

_REMEDIES = {
    errno.EADDRINUSE: "another process listens there; stop it or choose another --listen",
    errno.EACCES: "not permitted; ports below 1024 take CAP_NET_BIND_SERVICE: choose a higher one",
    errno.EADDRNOTAVAIL: "this machine has no such address; choose one that it has, or :PORT for all of them",
}
# What a machine without IPv6 says: to the making of such a socket, or to its binding.
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def bind(address: ListenAddress) -> socket.socket:
    """A TCP socket that listens on `address`, which a predecessor may have left a moment ago.

    Without a host: on every address of this machine, IPv4 and, where there is one, IPv6. A host name stands
    for the first of its addresses that can be listened on, IPv4 first. Raises ListenError, which says what to
    do.
    """
    try:
        return _every_address(address.port) if not address.host else _named(address)
    except socket.gaierror as error:
        why = f"no such host ({error.strerror}); give an address of this machine, or :PORT for all of them"
        raise ListenError(_cannot(address, why)) from error
    except OSError as error:
        # create_server adds the address in its own words to strerror.
        why = _REMEDIES.get(error.errno or 0) or str(error.strerror or error).partition(" (while")[0]
        raise ListenError(_cannot(address, why)) from error


def _every_address(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
    return socket.create_server(("", port), backlog=BACKLOG)


def _named(address: ListenAddress) -> socket.socket:
    host = address.host.encode("ascii")  # bytes: for text the codec of international names would be imported
    found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found.sort(key=lambda each: each[0] is not socket.AF_INET)  # "localhost" is for most 127.0.0.1
    for place, (family, _, _, _, where) in enumerate(found, start=1):
        try:
            return socket.create_server(where, family=family, backlog=BACKLOG)
        except OSError as error:
            if error.errno not in _NO_IPV6 or place == len(found):
                raise
    raise socket.gaierror(socket.EAI_NONAME, "it has no address")


def _cannot(address: ListenAddress, why: str) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"cannot listen on {host}:{address.port}: {why}"
