"""Resolves host names within a time limit, which getaddrinfo(3) does not have.

Each look-up runs on its own thread, one per host at a time. Callers wait for it within their time limit. If
the answer is late, or the name servers fail, callers get the last good addresses of the host. That is safe
because TLS verifies the server. A late answer is kept for the next caller.
"""

import ipaddress
import logging
import socket
import threading

_log = logging.getLogger("refresher")

PATIENCE = 0.25  # share of the time left to wait for new addresses while old ones are known

# The name servers answered that the name does not exist or has no address.
_DEFINITE = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


class UnresolvedError(TimeoutError):
    """A name could not be resolved. The text has the name and the reason."""


class Resolver:
    """Resolves names. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, _LookUp] = {}
        self._last_good: dict[str, list[str]] = {}
        self._reported: set[str] = set()  # hosts whose last good addresses are in use

    def addresses(self, host: str, seconds: float) -> list[str]:
        """The addresses of `host`, in order of preference, within `seconds`.

        Raises UnresolvedError, or socket.gaierror like getaddrinfo.
        """
        if _is_address(host) or host == "localhost":
            return _getaddrinfo(host)
        look_up, known = self._join(host)
        if not look_up.done.wait(seconds * PATIENCE if known else seconds):
            late = UnresolvedError(
                f"the name {host} could not be resolved within {seconds:.2g} s: the resolver does not answer "
                "(see /etc/resolv.conf)"
            )
            return self._fall_back(host, known, late)
        if look_up.found:
            with self._lock:
                self._reported.discard(host)
            return look_up.found
        if isinstance(look_up.error, socket.gaierror) and look_up.error.errno in _DEFINITE:
            raise look_up.error
        return self._fall_back(host, known, look_up.error)

    def _join(self, host: str) -> "tuple[_LookUp, list[str]]":
        """The running look-up of this host, or a new one; and the last good addresses of the host."""
        with self._lock:
            known = self._last_good.get(host, [])
            look_up = self._under_way.get(host)
            if look_up is None:
                look_up = self._under_way[host] = _LookUp()
                try:
                    threading.Thread(
                        target=self._run, args=(host, look_up), name=f"resolve-{host}", daemon=True
                    ).start()
                except RuntimeError as error:  # the Pod or user is at its limit of threads
                    del self._under_way[host]
                    look_up.fail(UnresolvedError(f"cannot start a thread to resolve {host}: {error}"))
            return look_up, known

    def _run(self, host: str, look_up: "_LookUp") -> None:
        try:
            look_up.found = _getaddrinfo(host)
        except OSError as error:
            look_up.error = error
        finally:
            with self._lock:
                del self._under_way[host]
                if look_up.found:
                    self._last_good[host] = look_up.found
            look_up.done.set()

    def _fall_back(self, host: str, known: list[str], error: OSError) -> list[str]:
        if not known:
            raise error
        with self._lock:
            is_new = host not in self._reported
            self._reported.add(host)
        if is_new:
            _log.warning("%s; its last known addresses are in use", _message(host, error))
        return known


class _LookUp:
    """One call of getaddrinfo(3) and its result."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.found: list[str] = []
        self.error: OSError = UnresolvedError("the look-up of a name failed")  # if `found` is empty

    def fail(self, error: OSError) -> None:
        self.error = error
        self.done.set()


def _getaddrinfo(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except ValueError as error:  # an empty label, one of more than 63 characters, a NUL
        raise socket.gaierror(socket.EAI_NONAME, "it is not a valid host name") from error
    return [str(address[0]) for *_, address in found]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _message(host: str, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name {host} cannot be resolved: {error.strerror} (see /etc/resolv.conf)"
    return str(error)
