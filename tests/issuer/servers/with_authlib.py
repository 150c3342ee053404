"""An OAuth2 server with Authlib: its token endpoint, for the clients of `oauth2_servers.Settings`."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl

from authlib.common.security import generate_token
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6749.util import list_to_scope, scope_to_list
from authlib.oauth2.rfc6750 import BearerTokenGenerator


class Client(ClientMixin):
    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings

    def get_client_id(self) -> str:
        return str(self._settings["client_id"])

    def get_allowed_scope(self, scope: str) -> str:
        allowed = self._settings["scope"].split()
        return list_to_scope([each for each in scope_to_list(scope or "") if each in allowed])

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == self._settings["client_secret"]

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self._settings["token_endpoint_auth_method"]

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self._settings["grant_types"]


class Grant(ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")


class Server(AuthorizationServer):
    def __init__(self, settings: Callable[[], dict[str, Any]]) -> None:
        super().__init__(scopes_supported=["reports.read", "reports.write"])
        self._settings = settings
        generator = BearerTokenGenerator(lambda **_: generate_token(42), expires_generator=600)
        self.register_token_generator("default", generator)
        self.register_grant(Grant)

    def query_client(self, client_id: str) -> Client | None:
        found = [each for each in self._settings()["clients"] if each["client_id"] == client_id]
        return Client(found[0]) if found else None

    def save_token(self, token: dict[str, Any], request: OAuth2Request) -> None:
        """Replace `expires_in` by what the settings demand. It takes part in the response."""
        answers, client_id = self._settings()["expires_in"], request.client.get_client_id()
        if client_id in answers:
            token["expires_in"] = answers[client_id]
            if token["expires_in"] is None:
                del token["expires_in"]

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: dict[str, Any], headers: list[tuple[str, str]]) -> tuple:
        return status, body, headers

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens to signals."""


class FormRequest(OAuth2Request):
    def __init__(self, method: str, headers: Any, form: dict[str, str]) -> None:
        super().__init__(method, "http://localhost/token", headers=headers)
        self.payload, self._form = BasicOAuth2Payload(form), form

    @property
    def form(self) -> dict[str, str]:
        return self._form


@contextmanager
def serving(settings: Callable[[], dict[str, Any]]) -> Iterator[int]:
    """The port on which it serves."""
    server = Server(settings)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"])).decode()
            request = FormRequest("POST", self.headers, dict(parse_qsl(content, keep_blank_values=True)))
            status, body, headers = server.create_token_response(request)
            sent = json.dumps(body).encode()
            self.send_response(status)
            for name, value in (*headers, ("Content-Length", str(len(sent)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield http.server_address[1]
        finally:
            http.shutdown()
            thread.join()
