"""Whether a daemon could listen on the configured addresses: a part of `refresher check`."""

import socket

from refresher import exit_codes
from refresher.commands.findings import Finding
from refresher.commands.status import of_daemon
from refresher.config.daemon_url import local_url
from refresher.config.declarations import ListenAddress
from refresher.config.serving import ServeAddress, ServeSettings
from refresher.errors import AddressInUseError, KeyUnreadableError, ListenError, UnreachableDaemonError
from refresher.http.server import sockets
from refresher.keys.keyfile import KeyFile

_PATIENCE = 2.0  # seconds, for a process on this machine
_PROBE = b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_OURS = b"\r\nServer: inlive-token-refresher\r\n"


def listen_finding(address: ListenAddress, tokens: set[str]) -> Finding:
    """Whether a daemon can listen there, or the daemon of `tokens` already does."""
    try:
        sockets.bind(address.host, address.port).close()
    except ListenError as error:
        try:
            answer = of_daemon(local_url(address.host, address.port))
        except UnreachableDaemonError:
            return Finding("listen", exit_codes.CONFIGURATION, str(error))
        if {token.get("name") for token in answer["tokens"] if isinstance(token, dict)} != tokens:
            text = f"{error}; a refresher with other tokens listens there"
            return Finding("listen", exit_codes.CONFIGURATION, text)
        return Finding(
            "listen", 0, f"port {address.port} is used by the daemon of these tokens", is_hint=True
        )
    return Finding("listen", 0, f"port {address.port} is free")


def serve_finding(serve: ServeSettings) -> Finding:
    """Whether a daemon can serve tokens there, or one already does."""
    address = serve.address
    try:
        if address.path:
            sockets.try_unix(address.path, group=serve.group)
        else:
            sockets.bind(address.host, address.port, option="--serve").close()
    except AddressInUseError as error:
        if not _answers_like_us(address):
            return Finding("serve", exit_codes.CONFIGURATION, str(error))
        return Finding("serve", 0, f"{address} is used by a refresher, most likely the daemon", is_hint=True)
    except ListenError as error:
        return Finding("serve", exit_codes.CONFIGURATION, str(error))
    return Finding("serve", 0, f"{address} is free")


def secret_finding(path: str) -> Finding:
    """Whether the client secret of OAuth2 clients can be read."""
    try:
        secret = KeyFile(path, "client secret").read()
    except KeyUnreadableError as error:
        return Finding("client secret", exit_codes.CONFIGURATION, str(error))
    return Finding("client secret", 0, f"file:{path}, fingerprint {secret.fingerprint}")


def _answers_like_us(address: ServeAddress) -> bool:
    try:
        with _connected(address) as sock:
            sock.sendall(_PROBE)
            answer = b""
            while piece := sock.recv(4096):
                answer += piece
                if len(answer) > 2**16:
                    break
    except OSError:
        return False
    return _OURS in answer


def _connected(address: ServeAddress) -> socket.socket:
    if not address.path:
        return socket.create_connection((address.host, address.port), _PATIENCE)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(_PATIENCE)
    try:
        sock.connect(address.path)
    except OSError:
        sock.close()
        raise
    return sock
