"""Listening sockets. Nothing here takes long to import: an address in use is reported before the first token,
when no server is needed yet."""

import errno
import os
import socket
import stat
from contextlib import suppress

from refresher.errors import ListenError

BACKLOG = 128  # connections that wait while nobody serves them yet; the kernel's usual bound
LONGEST_PATH = 107  # bytes (unix(7))

_REMEDIES = {
    errno.EADDRINUSE: "another process listens there; stop it or choose another {}",
    errno.EACCES: "not permitted; ports below 1024 take CAP_NET_BIND_SERVICE: choose a higher one",
    errno.EADDRNOTAVAIL: "this machine has no such address; choose one that it has, or :PORT for all of them",
}
_UNIX_REMEDIES = {
    errno.ENOENT: "its directory does not exist; create it",
    errno.ENOTDIR: "its directory is no directory; choose another {}",
    errno.EACCES: "not permitted; this process must be able to write to its directory",
    errno.EROFS: "its directory is read-only; choose another {}",
}
# What a machine without IPv6 says: to the making of such a socket, or to its binding.
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def bind(host: str, port: int, *, option: str = "--listen", backlog: int = BACKLOG) -> socket.socket:
    """A TCP socket that listens on `host` and `port`, which a predecessor may have left a moment ago.

    Without a host: on every address of this machine, IPv4 and, where there is one, IPv6. A host name stands
    for the first of its addresses that can be listened on, IPv4 first. Raises ListenError, which says what to
    do; `option` is how the user has chosen the address.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if not 0 <= port <= 65535:  # the resolver would take it modulo 65536
            raise ListenError(f"cannot listen on {where}: ports are 0 to 65535")
        return _every_address(port, backlog) if not host else _named(host, port, backlog)
    except (socket.gaierror, UnicodeError) as error:
        reason = f" ({error.strerror})" if isinstance(error, OSError) else ""
        why = f"no such host{reason}; give an address of this machine, or :PORT for all of them"
        raise ListenError(f"cannot listen on {where}: {why}") from error
    except OSError as error:
        # create_server adds the address in its own words to strerror.
        why = _REMEDIES.get(error.errno or 0, "").format(option)
        why = why or str(error.strerror or error).partition(" (while")[0]
        raise ListenError(f"cannot listen on {where}: {why}") from error


def bind_unix(
    path: str,
    *,
    mode: int = 0o660,
    group: str | None = None,
    option: str = "--serve",
    backlog: int = BACKLOG,
) -> socket.socket:
    """A Unix socket that listens at `path`. Users who may write to it, by `mode` and `group`, may connect.

    A socket that nobody listens on is replaced; nothing else is. `close` removes it. Raises ListenError.
    """
    where = f"cannot listen on unix:{path}"
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ListenError(f"{where}: the path has more than {LONGEST_PATH} bytes; choose a shorter {option}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        number = -1 if group is None else _group_number(group)
        _bind_path(sock, path)
        # Nobody connects before it listens, so nobody does before it has its group and mode.
        os.chown(path, -1, number)
        os.chmod(path, mode)
        sock.listen(backlog)
    except (OSError, LookupError) as error:
        reason = _unix_reason(error, path, group, option)
        close(sock)
        raise ListenError(f"{where}: {reason}") from error
    return sock


def close(listening: socket.socket) -> None:
    """Close a listening socket; a Unix socket leaves no file."""
    path = listening.getsockname() if listening.family is socket.AF_UNIX else None
    listening.close()
    if path:
        with suppress(OSError):
            os.unlink(path)


def _every_address(port: int, backlog: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("::", port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True
            )
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
    return socket.create_server(("", port), backlog=backlog)


def _named(host: str, port: int, backlog: int) -> socket.socket:
    name = host.encode("ascii")  # bytes: for text the codec of international names would be imported
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found.sort(key=lambda each: each[0] is not socket.AF_INET)  # "localhost" is for most 127.0.0.1
    for place, (family, _, _, _, where) in enumerate(found, start=1):
        try:
            return socket.create_server(where, family=family, backlog=backlog)
        except OSError as error:
            if error.errno not in _NO_IPV6 or place == len(found):
                raise
    raise socket.gaierror(socket.EAI_NONAME, "it has no address")


def _bind_path(sock: socket.socket, path: str) -> None:
    try:
        sock.bind(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_abandoned(path):
            raise
        os.unlink(path)
        sock.bind(path)


def _is_abandoned(path: str) -> bool:
    """Whether it is a socket on which nobody listens: its process was killed."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)  # where the backlog is full, somebody listens
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _group_number(group: str) -> int:
    if group.isdecimal():
        return int(group)
    import grp  # noqa: PLC0415 -- only where wanted

    return grp.getgrnam(group).gr_gid


def _unix_reason(error: OSError | LookupError, path: str, group: str | None, option: str) -> str:
    if isinstance(error, LookupError):
        return f"no such group: {group}"
    if error.errno == errno.EPERM:
        return f"this process may not give it to group {group}; a member of the group may"
    if error.errno == errno.EADDRINUSE:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            return _REMEDIES[errno.EADDRINUSE].format(option)
        return f"a file is there that is no socket; remove it or choose another {option}"
    return _UNIX_REMEDIES.get(error.errno or 0, "").format(option) or error.strerror or str(error)
