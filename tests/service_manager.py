"""A service manager's end of the notification socket: a real one, at a path or of an abstract name."""

import select
import socket

DEADLINE = 15.0  # seconds; far more than anything takes that is to be told


class Manager:
    """Where systemd listens in a unit with ``Type=notify``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.settimeout(DEADLINE)
        self._sock.bind(b"\0" + name[1:].encode() if name.startswith("@") else name)  # unix(7)

    def heard(self) -> list[str]:
        """The lines of the next datagram."""
        return self._sock.recv(65536).decode().split("\n")

    def heard_of(self, text: str) -> list[str]:
        """The lines of the next datagram that has `text` in it. None before it tells of readiness."""
        while text not in "\n".join(lines := self.heard()):
            assert "READY=1" not in lines
        return lines

    def heard_nothing(self) -> bool:
        """Whether no datagram waits; on one machine what is sent has arrived when it is sent."""
        ready, _, _ = select.select([self._sock], [], [], 0)
        return not ready

    def close(self) -> None:
        self._sock.close()
