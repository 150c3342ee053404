"""Real OAuth2 servers that others wrote, on loopback, with clients of the tests."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import needs
from tests.issuer.servers.with_authlib import serving

GRANTED = 600.0  # seconds; how long the servers let a token live, and what they answer as `expires_in`
OIDC_PROVIDER = Path(__file__).parent / "servers" / "oidc_provider"


class Settings:
    """The clients of a server, and what it answers as `expires_in` instead of
    `GRANTED`. A file, read at each request."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content: dict[str, Any] = {"clients": [], "expires_in": {}}

    def add(self, client_id: str, secret: str, auth_method: str, **more: object) -> None:
        """Add or replace a client (RFC 7591)."""
        client = {
            "client_id": client_id,
            "client_secret": secret,
            "token_endpoint_auth_method": auth_method,
            "grant_types": ["client_credentials"],
            "response_types": [],
            "redirect_uris": [],
            "scope": "reports.read",
        }
        others = [each for each in self._content["clients"] if each["client_id"] != client_id]
        self._content["clients"] = [*others, client | more]
        self.write()

    def answer(self, client_id: str, expires_in: object) -> None:
        """Answer so to this client. None: leave the field out."""
        self._content["expires_in"][client_id] = expires_in
        self.write()

    def write(self) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self._content))
        new.rename(self.path)

    def read(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.path.read_text())
        return content


@contextmanager
def authlib(settings: Settings) -> Iterator[str]:
    with serving(settings.read) as port:
        yield f"http://127.0.0.1:{port}/token"


@contextmanager
def oidc_provider(settings: Settings) -> Iterator[str]:
    needs.npm(OIDC_PROVIDER)
    command = [needs.tool("node"), str(OIDC_PROVIDER / "server.mjs"), str(settings.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            assert port, server.communicate()[1]
            yield f"http://127.0.0.1:{port}/token"
        finally:
            server.kill()
