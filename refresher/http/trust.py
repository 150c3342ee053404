"""Whom a client trusts over TLS: certificates in files that may be replaced at any time.

The configuration may name a CA file. Without one, the authorities are those of the system's store, as
Python's `ssl` finds it: OpenSSL's default file and directory, or those that SSL_CERT_FILE and SSL_CERT_DIR
name. If that store is empty, certifi's bundle is used.
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
    """A CA file, a client certificate or a proxy cannot be used. The text says which and why, without a
    secret."""


class Authorities(NamedTuple):
    """Where to find certificates of authorities. `directories`: as of ``SSL_CERT_DIR``, separated by
    colons."""

    file: str | None
    directories: str = ""

    def __str__(self) -> str:
        return " and ".join(filter(None, (self.file, self.directories))) or "the system's empty CA store"


class Trust:
    """One TLS context for all connections of a client, made again when its files change.

    Call `context` before each request: it compares what stat(2) reports of the files, which takes
    microseconds. Loading a bundle takes 16 ms. A file that cannot be used never replaces one that could: the
    last good context stays in use, and each such change is logged once. Safe for several threads.
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
        self._context: ssl.SSLContext | None = None
        self._seen: object = None  # what stat reported of the files that the context was made of
        self._reported: object = None  # what it reported of those that could not be used
        self.problem = ""  # why the current files are not in use; empty if they are
        self.authorities = Authorities(ca_file)

    def context(self) -> ssl.SSLContext:
        """The same object as before, unless the files have changed. Raises UnusableError if there never was a
        good one."""
        with self._lock:
            authorities = Authorities(self.ca_file) if self.ca_file else _system_store()
            seen = tuple(map(_stamp, self._paths(authorities)))
            if self._context is None or seen != self._seen:
                self._renew(authorities, seen)
            if self._context is None:
                raise UnusableError(self.problem)
            return self._context

    def _paths(self, authorities: Authorities) -> Iterator[str]:
        yield from filter(None, (authorities.file, *authorities.directories.split(os.pathsep)))
        yield from filter(None, self._client or ())

    def _renew(self, authorities: Authorities, seen: object) -> None:
        """Files that fail are tried again next time: the cause may be a lack of descriptors."""
        try:
            context = self._load(authorities)
        except UnusableError as error:
            self.problem = str(error)
            if self._context is not None and seen != self._reported:
                _log.warning("%s; the certificates that were read before stay in use", error)
            self._reported = seen
            return
        if self._context is not None:
            _log.info("%s: changed, and in use from now on", authorities)
        self._context, self._seen, self._reported, self.problem = context, seen, None, ""

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
                why = _why(error, "it and its key do not belong together, or are not PEM")
                raise UnusableError(
                    f"the client certificate {self._client[0]} cannot be used: {why}"
                ) from error
        return context


def _load_authorities(context: ssl.SSLContext, authorities: Authorities) -> None:
    try:
        context.load_verify_locations(authorities.file, authorities.directories or None)
    except OSError as error:
        why = _why(error, "no certificates in it")
        raise UnusableError(
            f"the CA file {shown_path(authorities.file or authorities.directories)} cannot be used: {why}"
        ) from error


def _why(error: OSError, otherwise: str) -> str:
    return otherwise if isinstance(error, ssl.SSLError) else error.strerror or otherwise


def _system_store() -> Authorities:
    paths = ssl.get_default_verify_paths()
    directories = os.environ.get(paths.openssl_capath_env) or paths.openssl_capath
    return Authorities(
        os.environ.get(paths.openssl_cafile_env) or paths.cafile,
        os.pathsep.join(filter(os.path.isdir, directories.split(os.pathsep))),
    )


def _has_certificates(directories: str) -> bool:
    """Whether OpenSSL can find any there. It looks a certificate up by its name, when it needs it."""
    for path in filter(None, directories.split(os.pathsep)):
        with suppress(OSError):  # nobody can find anything in a directory that cannot be read
            if any(map(_HASHED.fullmatch, os.listdir(path))):
                return True
    return False


def _stamp(path: str) -> object:
    """Changes with the content, also where kubelet swaps a symbolic link or the clock stands still
    (ctime)."""
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
