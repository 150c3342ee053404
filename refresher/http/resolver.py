"""Resolves the names of hosts within a time limit, which getaddrinfo(3) does not have.

Each look-up runs on a thread of its own, one for each host at a time. Callers wait for it as long as their
time allows. If the answer comes too late, or the name servers fail, they get the last good addresses of the
host: TLS shows whether the right server is there. A late answer is kept for the next caller.
"""

import ipaddress
import logging
import socket
import threading

_log = logging.getLogger("refresher")

PATIENCE = 0.25  # of the time that is left: how long to wait for new addresses of a host that has known ones

# The name servers have answered: there is no such name, or it has no address.
_DEFINITE = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


class UnresolvedError(TimeoutError):
    """A name could not be resolved in time, or at all; the text says which and why."""


class Resolver:
    """Looks names up. Used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, _LookUp] = {}
        self._last_good: dict[str, list[str]] = {}
        self._reported: set[str] = set()  # hosts whose last good addresses are in use

    def addresses(self, host: str, seconds: float) -> list[str]:
        """The addresses of `host`, in order of preference, within `seconds`.

        Raises UnresolvedError, and socket.gaierror as getaddrinfo does.
        """
        if _is_address(host) or host == "localhost":
            return _getaddrinfo(host)
        look_up, known = self._join(host)
        if not look_up.done.wait(seconds * PATIENCE if known else seconds):
            why = (
                f"the name {host} could not be resolved within {seconds:.2g} s: the resolver does not answer"
            )
            return self._fall_back(host, known, UnresolvedError(f"{why} (see /etc/resolv.conf)"))
        if look_up.found:
            with self._lock:
                self._reported.discard(host)
            return look_up.found
        if isinstance(look_up.error, socket.gaierror) and look_up.error.errno in _DEFINITE:
            raise look_up.error
        return self._fall_back(host, known, look_up.error)

    def _join(self, host: str) -> "tuple[_LookUp, list[str]]":
        """The look-up of this host that is under way, or a new one; and its last good addresses."""
        with self._lock:
            known = self._last_good.get(host, [])
            look_up = self._under_way.get(host)
            if look_up is None:
                look_up = self._under_way[host] = _LookUp()
                try:
                    threading.Thread(
                        target=self._run, args=(host, look_up), name=f"resolve-{host}", daemon=True
                    ).start()
                except RuntimeError as error:  # no thread to be had: a limit of the Pod or user
                    del self._under_way[host]
                    look_up.fail(UnresolvedError(f"no thread to resolve {host} with: {error}"))
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
            is_news = host not in self._reported
            self._reported.add(host)
        if is_news:
            _log.warning("%s; its last known addresses are in use", _said(host, error))
        return known


class _LookUp:
    """One call of getaddrinfo(3) and its result."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.found: list[str] = []
        self.error: OSError = UnresolvedError("the resolution of a name broke off")  # where nothing was found

    def fail(self, error: OSError) -> None:
        self.error = error
        self.done.set()


def _getaddrinfo(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except ValueError as error:  # an empty label, one of more than 63 characters, a NUL
        raise socket.gaierror(socket.EAI_NONAME, "it is not the name of a host") from error
    return [str(address[0]) for *_, address in found]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _said(host: str, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name {host} cannot be resolved: {error.strerror} (see /etc/resolv.conf)"
    return str(error)
