"""The service manager's end of a real notification socket, at a path or with an abstract name."""

import select
import socket

DEADLINE = 15.0  # seconds; every notification comes much sooner


class Manager:
    """Listens as systemd does for a unit with ``Type=notify``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.settimeout(DEADLINE)
        self._sock.bind(b"\0" + name[1:].encode() if name.startswith("@") else name)  # unix(7)

    def heard(self) -> list[str]:
        """The lines of the next datagram."""
        return self._sock.recv(65536).decode().split("\n")

    def heard_of(self, text: str) -> list[str]:
        """The lines of the next datagram that contains `text`. No datagram before it reports readiness."""
        while text not in "\n".join(lines := self.heard()):
            assert "READY=1" not in lines
        return lines

    def heard_nothing(self) -> bool:
        """Whether no datagram waits. On one machine a datagram arrives when it is sent."""
        ready, _, _ = select.select([self._sock], [], [], 0)
        return not ready

    def close(self) -> None:
        self._sock.close()
