"""Listening sockets. This module is cheap to import: the daemon reports an address in use before the first
token, when it does not need the server yet."""

import errno
import os
import socket
import stat
from contextlib import suppress

from refresher.config.quoting import plain, shown_host, shown_path
from refresher.errors import AddressInUseError, ListenError

BACKLOG = 128  # connections that may wait until the server accepts them; the kernel's usual bound
LONGEST_PATH = 107  # bytes (unix(7))

_REMEDIES = {
    errno.EADDRINUSE: "another process listens there; stop it or choose another {}",
    errno.EACCES: "not permitted; a port below 1024 needs CAP_NET_BIND_SERVICE: choose a higher port",
    errno.EADDRNOTAVAIL: "this machine has no such address; choose one of its own, or :PORT for all of them",
}
_UNIX_REMEDIES = {
    errno.ENOENT: "its directory does not exist; create it or choose another {}",
    errno.ENOTDIR: "its parent is not a directory; choose another {}",
    errno.EACCES: "not permitted; this process must be able to write to its directory",
    errno.EROFS: "its directory is read-only; choose another {}",
}
# The errors on a machine without IPv6 when creating such a socket, or when binding it.
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def bind(host: str, port: int, *, option: str = "--listen", backlog: int = BACKLOG) -> socket.socket:
    """A TCP socket that listens on `host` and `port`, even if a predecessor has just closed that port.

    With an empty host it listens on every address of this machine, IPv4 and, if available, IPv6. With a host
    name it listens on the first usable address of that name, IPv4 first. Raises ListenError with advice;
    `option` is the option that chose the address.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{shown_host(host)}:{port}"
    try:
        if not 0 <= port <= 65535:  # the resolver would take it modulo 65536
            raise ListenError(f"cannot listen on {where}: ports are 0 to 65535")
        return _every_address(port, backlog) if not host else _named(host, port, backlog)
    except (socket.gaierror, UnicodeError) as error:
        reason = f" ({error.strerror})" if isinstance(error, OSError) else ""
        why = f"no such host{reason}; give an address of this machine, or :PORT for all its addresses"
        raise ListenError(f"cannot listen on {where}: {why}") from error
    except OSError as error:
        # create_server appends " (while attempting to bind on address …)" to strerror.
        why = _REMEDIES.get(error.errno or 0, "").format(option)
        why = why or str(error.strerror or error).partition(" (while")[0]
        raise _failed(error)(f"cannot listen on {where}: {why}") from error


def bind_unix(
    path: str,
    *,
    mode: int = 0o660,
    group: str | None = None,
    option: str = "--serve",
    backlog: int = BACKLOG,
) -> socket.socket:
    """A Unix socket that listens at `path`. Users with write permission, by `mode` and `group`, may connect.

    It replaces an abandoned socket, but no other file. `close` removes it. Raises ListenError.
    """
    where = _checked(path, option)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        number = -1 if group is None else _group_number(group)
        _bind_path(sock, path)
        # No client can connect before `listen`, so none connects before group and mode are set.
        os.chown(path, -1, number)
        os.chmod(path, mode)
        sock.listen(backlog)
    except (OSError, LookupError) as error:
        reason = _unix_reason(error, path, group, option)
        close(sock)
        raise _failed(error)(f"{where}: {reason}") from error
    return sock


def try_unix(path: str, *, group: str | None = None, option: str = "--serve") -> None:
    """Raise the ListenError that `bind_unix` would raise. Leaves no file: a daemon may be starting."""
    import tempfile  # noqa: PLC0415 -- only for `check`

    where = _checked(path, option)
    try:
        number = -1 if group is None else _group_number(group)
        _expect_free(path)
        with tempfile.TemporaryFile(dir=os.path.dirname(path)) as file:
            os.chown(file.fileno(), -1, number)
    except (OSError, LookupError) as error:
        raise _failed(error)(f"{where}: {_unix_reason(error, path, group, option)}") from error


def close(listening: socket.socket) -> None:
    """Close a listening socket. Removes the file of a Unix socket."""
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
    name = host.encode("ascii")  # bytes: text would import the codec of international names
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found.sort(key=lambda entry: entry[0] is not socket.AF_INET)  # most users expect localhost = 127.0.0.1
    for number, (family, _, _, _, address) in enumerate(found, start=1):
        try:
            return socket.create_server(address, family=family, backlog=backlog)
        except OSError as error:
            if error.errno not in _NO_IPV6 or number == len(found):
                raise
    raise socket.gaierror(socket.EAI_NONAME, "the name has no address")


def _checked(path: str, option: str) -> str:
    """The beginning of a message about `path`. Raises ListenError for a path that no socket can have."""
    where = f"cannot listen on unix:{shown_path(path)}"
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ListenError(f"{where}: the path has more than {LONGEST_PATH} bytes; choose a shorter {option}")
    return where


def _failed(error: OSError | LookupError) -> type[ListenError]:
    in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
    return AddressInUseError if in_use else ListenError


def _bind_path(sock: socket.socket, path: str) -> None:
    try:
        sock.bind(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_abandoned(path):
            raise
        os.unlink(path)
        sock.bind(path)


def _expect_free(path: str) -> None:
    if os.path.lexists(path) and not _is_abandoned(path):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _is_abandoned(path: str) -> bool:
    """Whether `path` is a socket without a listening process, for example after a kill."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)  # a full backlog means that a process listens
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _group_number(group: str) -> int:
    if group.isdecimal():
        return int(group)
    import grp  # noqa: PLC0415 -- only for a group

    return grp.getgrnam(group).gr_gid


def _unix_reason(error: OSError | LookupError, path: str, group: str | None, option: str) -> str:
    name = plain(group or "")
    if isinstance(error, LookupError):
        return f"this machine has no group {name}; create it or choose another {option}-group"
    if error.errno == errno.EPERM:
        return f"this process may not give it to group {name}; run it as a member of that group"
    if error.errno == errno.EADDRINUSE:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            return _REMEDIES[errno.EADDRINUSE].format(option)
        return f"a file that is not a socket exists there; remove it or choose another {option}"
    return _UNIX_REMEDIES.get(error.errno or 0, "").format(option) or error.strerror or str(error)
