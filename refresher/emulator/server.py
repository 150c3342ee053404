"""The emulator as one object: start it, break it, inspect what it saw, stop it."""

import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from refresher.clock import SystemClock
from refresher.config.quoting import shown_path
from refresher.core.inlive import DEFAULT_EXPIRY, MINT_PATH
from refresher.core.model import SecretStr, fingerprint
from refresher.emulator import control
from refresher.emulator.api import Reply, Upstream
from refresher.emulator.application import LIMITS, EmulatorApplication
from refresher.emulator.faults import Fault
from refresher.emulator.kinds import ANSWER
from refresher.emulator.records import Counts
from refresher.emulator.tokens import jwt_maker, opaque
from refresher.errors import ConfigurationError, Problem
from refresher.http.server.loop import Server
from refresher.http.server.messages import Request
from refresher.http.server.sockets import bind

if TYPE_CHECKING:
    from refresher.ports import Clock

_BACKLOG = 1024
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (where a wildcard is reached)


class Emulator:
    """An Inlive API on this machine, and other kinds of issuers (`kinds`).

    A context manager. Any thread may call its methods. It can be stopped and started again; it keeps its port
    and the tokens that it has issued.

    `host`, `port`: the address to listen on; port 0 chooses a free port and keeps it. `keys`: the application
    keys to accept; by default one new key. `jwt`: whether tokens are JWTs. `cert`, `key`: PEM files, for
    HTTPS (`key` may be in the file of `cert`). `refusal`: the status for a wrong key, 401 or 403.
    `min_expiry`: seconds; a shorter lifetime is refused with 400. `lifetime`: of a token whose request states
    none, as in OAuth2, in seconds. `exclusive`: whether a new token ends the former one of its client.
    `json_answer`: the response of the JSON endpoint (`kinds.AnyJson`). `clock`: its wall time is the
    emulator's time. `log`: called from any thread with one line per request, which contains no secret.

    Raises ConfigurationError for an argument that is not accepted.
    """

    def __init__(  # noqa: PLR0913 (all have defaults, and most are given by name only)
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        keys: Iterable[str | SecretStr] = (),
        *,
        jwt: bool = False,
        cert: str | None = None,
        key: str | None = None,
        refusal: int = 401,
        min_expiry: float = 1.0,
        lifetime: float = DEFAULT_EXPIRY,
        exclusive: bool = False,
        json_answer: str = ANSWER,
        clock: "Clock | None" = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        if refusal not in (401, 403):
            raise ConfigurationError((Problem("refusal", f"{refusal} is not accepted; accepted: 401, 403"),))
        if key is not None and cert is None:
            raise ConfigurationError(
                (Problem("key", "is given without cert; accepted: both, cert alone, none"),)
            )
        self._host, self._port = host, port
        self._cert, self._cert_key = cert, key
        self._clock = clock or SystemClock()
        self._log = log
        make_token = jwt_maker(_random_text().encode()) if jwt else opaque
        try:
            self._upstream = Upstream(
                refusal=refusal,
                min_expiry=min_expiry,
                lifetime=lifetime,
                exclusive=exclusive,
                json_answer=json_answer,
                make_token=make_token,
            )
        except ValueError as error:
            raise ConfigurationError((Problem("json_answer", str(error)),)) from error
        self._lock = threading.Lock()  # around every use of `_upstream`
        self._keys: dict[str, SecretStr] = {}
        self._address = ""
        self._server: Server | None = None
        self._serving: threading.Thread | None = None
        for application_key in keys:
            self.add_key(application_key)
        if not self._keys:
            self.add_key()

    # Start and stop

    def start(self) -> Self:
        """Start to serve. Raises ListenError, and ConfigurationError for unusable TLS files."""
        if self._server is None:
            tls = self._tls_context()
            listening = bind(self._host, self._port, backlog=_BACKLOG)
            self._address, self._port = listening.getsockname()[:2]
            application = EmulatorApplication(self._respond, self._now, self._log)
            self._server = Server(listening, application, LIMITS, tls=tls, name="the emulator")
            self._serving = threading.Thread(target=self._server.serve, name="emulator", daemon=True)
            self._serving.start()
        return self

    def stop(self) -> None:
        """Close the socket and sever every connection. Idempotent."""
        server, self._server = self._server, None
        if server is not None and self._serving is not None:
            server.stop()
            self._serving.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Addresses

    @property
    def port(self) -> int:
        """The port it listens on. 0 before the first start if it is to choose a free port."""
        return self._port

    @property
    def url(self) -> str:
        """The URL for ``issuer.url``. A wildcard address becomes the loopback address."""
        host = _LOOPBACK.get(self._host, self._host)
        scheme = "http" if self._cert is None else "https"
        return f"{scheme}://[{host}]:{self._port}" if ":" in host else f"{scheme}://{host}:{self._port}"

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach it; False before the start."""
        return self._server is not None and ipaddress.ip_address(self._address).is_loopback

    @property
    def mint_url(self) -> str:
        return self.url + MINT_PATH

    # Keys and tokens

    @property
    def keys(self) -> tuple[SecretStr, ...]:
        """The keys in force, oldest first, without those added over HTTP, because their text is not kept."""
        with self._lock:
            return tuple(key for name, key in self._keys.items() if self._upstream.accepts(name))

    def add_key(self, key: str | SecretStr | None = None) -> SecretStr:
        """Accept `key`, or a new key, from now on, and return it. Raises ConfigurationError."""
        text = f"inlive-emulator-{_random_text()}" if key is None else _text_of(key)
        added = SecretStr(control.checked_key(text))
        with self._lock:
            self._upstream.add_key(text)
            self._keys[added.fingerprint] = added
        return added

    def revoke_key(self, key: str | SecretStr) -> None:
        """Refuse this key and its refresh tokens from now on. Its access tokens stay valid until they expire.

        Raises ConfigurationError if it is not in force.
        """
        name = fingerprint(_text_of(key))
        with self._lock:
            if not self._upstream.revoke_key(name):
                raise ConfigurationError((Problem("key", f"no key with fingerprint {name} is in force"),))

    def valid(self, token: str | SecretStr) -> bool:
        """Whether the API would accept a product call with this access token now."""
        with self._lock:
            return self._upstream.is_valid(_text_of(token), self._now())

    def expire_token(self, token: str | SecretStr | None = None) -> None:
        """End this token, or every access token, before its time. The product API then answers 403 with the
        header ``X-Access-Token-Expired``. Raises ConfigurationError if it is not in force."""
        self._end_tokens(token, expired=True)

    def revoke_token(self, token: str | SecretStr | None = None) -> None:
        """End this token, or every access token. The product API then answers 403 without the header.

        Raises ConfigurationError if it is not in force.
        """
        self._end_tokens(token, expired=False)

    def _end_tokens(self, token: str | SecretStr | None, *, expired: bool) -> None:
        name = None if token is None else fingerprint(_text_of(token))
        with self._lock:
            ended = self._upstream.end_tokens(name, self._now(), expired=expired)
        if name is not None and not ended:
            raise ConfigurationError((Problem("token", f"no token with fingerprint {name} is in force"),))

    # Faults

    def faults(self, *faults: Fault, **settings: object) -> None:
        """Replace the faults in force.

        The new ones are `faults`, then the fault that `settings` describe with the fields of `Fault`. Several
        faults are a script: the first with a matching scope and a count left applies to a request.
        Raises ConfigurationError.
        """
        script = [*faults, Fault.parse(settings)] if settings else faults
        with self._lock:
            self._upstream.set_faults(script)

    def heal(self) -> None:
        """Remove all faults. Responses that already hang or drip continue to do so."""
        self.faults()

    # Counts

    @property
    def counts(self) -> Counts:
        with self._lock:
            return self._upstream.counts

    def reset_counts(self) -> None:
        with self._lock:
            self._upstream.reset_counts()

    def _respond(self, request: Request) -> Reply:
        with self._lock:
            now = self._now()
            if request.path.startswith(control.PREFIX):
                return Reply(control.respond(request, self._upstream, self._host, now), None, now)
            return self._upstream.respond(request, now)

    def _now(self) -> float:
        return self._clock.now().wall

    def _tls_context(self) -> ssl.SSLContext | None:
        if self._cert is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # With an empty password, an encrypted key raises an error instead of a prompt on the terminal.
            context.load_cert_chain(self._cert, self._cert_key, password="")
        except OSError as error:
            files = " and ".join(shown_path(path) for path in (self._cert, self._cert_key) if path)
            problem = f"{files} cannot be used: {error.strerror or error}; accepted: PEM files, unencrypted"
            raise ConfigurationError((Problem("cert", problem),)) from error
        return context


def _random_text() -> str:
    return opaque(0.0, 0.0)


def _text_of(secret: str | SecretStr) -> str:
    return secret.reveal() if isinstance(secret, SecretStr) else secret
