"""TLS contexts from certificate files, reloaded when the files change.

The configuration may name a CA file. Otherwise the system's store is used: the file and directory in
SSL_CERT_FILE and SSL_CERT_DIR, or OpenSSL's defaults. If that store is empty, certifi's bundle is used.
"""

import logging
import os
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from urllib3.util.ssl_ import create_urllib3_context

from refresher.config.quoting import shown_path

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")  # a certificate in a directory, as openssl-rehash(1) names it

_log = logging.getLogger("refresher")


class UnusableError(OSError):
    """A CA file, a client certificate or a proxy cannot be used. The text names it and the reason, and
    contains no secret."""


class Authorities(NamedTuple):
    """Where to find CA certificates. `directories`: like ``SSL_CERT_DIR``, separated by colons."""

    file: str | None
    directories: str = ""

    def __str__(self) -> str:
        return " and ".join(filter(None, (self.file, self.directories))) or "the system's empty CA store"


class Trust:
    """One TLS context for all connections of a client. It is made again when its files change.

    Call `context` before each request. It compares the results of stat(2), which takes microseconds. Loading
    a bundle takes 16 ms. If new files cannot be used, the last good context stays in use, and the problem is
    logged once per change. Safe for several threads.
    """

    def __init__(
        self,
        ca_file: str | None = None,
        client_certificate: tuple[str, str | None] | None = None,
        *,
        verify: bool = True,
    ) -> None:
        self.ca_file, self._client, self._verify = ca_file, client_certificate, verify
        self._lock = threading.Lock()
        self._loaded: tuple[ssl.SSLContext, object] | None = None  # and the stamps of the files in use
        self._reported: object = None  # stamps of the unusable files that were logged last
        self.problem = ""  # why the current files are not in use; "" if they are
        self.authorities = Authorities(ca_file)

    def context(self) -> ssl.SSLContext:
        """The context for the current files: the same object while they do not change. Raises UnusableError
        if no files could ever be used."""
        authorities = Authorities(self.ca_file) if self.ca_file else _system_store()
        loaded = self._loaded  # without the lock: many threads would queue for it at each request
        if loaded is None or self._stamps(authorities) != loaded[1]:
            with self._lock:
                loaded, stamps = self._loaded, self._stamps(authorities)
                if loaded is None or stamps != loaded[1]:
                    loaded = self._renew(authorities, stamps)
        if loaded is None:
            raise UnusableError(self.problem)
        return loaded[0]

    def _stamps(self, authorities: Authorities) -> tuple[object, ...]:
        return tuple(map(_stamp, self._paths(authorities)))

    def _paths(self, authorities: Authorities) -> Iterator[str]:
        yield from filter(None, (authorities.file, *authorities.directories.split(os.pathsep)))
        yield from filter(None, self._client or ())

    def _renew(self, authorities: Authorities, stamps: object) -> tuple[ssl.SSLContext, object] | None:
        """Load the files. After a failure the next call loads them again: descriptors may have run out."""
        try:
            context = self._load(authorities)
        except UnusableError as error:
            self.problem = str(error)
            if self._loaded is not None and stamps != self._reported:
                _log.warning("%s; the certificates that were read before stay in use", error)
            self._reported = stamps
            return self._loaded
        if self._loaded is not None:
            _log.info("%s has changed: its new certificates are in use now", authorities)
        self._loaded, self._reported, self.problem = (context, stamps), None, ""
        return self._loaded

    def _load(self, authorities: Authorities) -> ssl.SSLContext:
        context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if self._verify else ssl.CERT_NONE)
        if self._verify:
            if not authorities.file and not _has_certificates(authorities.directories):
                import certifi  # noqa: PLC0415 -- for systems without a store

                authorities = Authorities(certifi.where())
            self.authorities = authorities
            _load_authorities(context, authorities)
        if self._client is not None:
            try:
                context.load_cert_chain(*self._client)
            except OSError as error:
                reason = _reason(error, "it does not match its key, or one of them is not PEM")
                raise UnusableError(
                    f"the client certificate {self._client[0]} cannot be used: {reason}"
                ) from error
        return context


def _load_authorities(context: ssl.SSLContext, authorities: Authorities) -> None:
    try:
        context.load_verify_locations(authorities.file, authorities.directories or None)
    except OSError as error:
        reason = _reason(error, "it contains no certificates")
        raise UnusableError(
            f"the CA file {shown_path(authorities.file or authorities.directories)} cannot be used: {reason}"
        ) from error


def _reason(error: OSError, default: str) -> str:
    """The operating system's reason, or `default` for an error of OpenSSL."""
    return default if isinstance(error, ssl.SSLError) else error.strerror or default


def _system_store() -> Authorities:
    paths = ssl.get_default_verify_paths()
    directories = os.environ.get(paths.openssl_capath_env) or paths.openssl_capath
    return Authorities(
        os.environ.get(paths.openssl_cafile_env) or paths.cafile,
        os.pathsep.join(filter(os.path.isdir, directories.split(os.pathsep))),
    )


def _has_certificates(directories: str) -> bool:
    """Whether OpenSSL can find a certificate there. It opens each by its hashed name when it needs it."""
    for path in filter(None, directories.split(os.pathsep)):
        with suppress(OSError):  # OpenSSL cannot read the directory either
            if any(map(_HASHED.fullmatch, os.listdir(path))):
                return True
    return False


def _stamp(path: str) -> object:
    """A value that changes with the content of the file. The inode shows that kubelet swapped a symbolic
    link. The ctime shows a change that kept size and mtime."""
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
