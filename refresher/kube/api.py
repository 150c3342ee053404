"""A client of the API server: plain JSON in and out, a time limit on every call, our own errors.

Only this module imports `kubernetes`. It uses only `ApiClient` and the loader of kubeconfigs. Typed models
would cost 20 MB and 300 ms more.
"""

import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import should_bypass_proxies
from urllib3.exceptions import HTTPError

from refresher import __version__
from refresher.core.http_response import Response
from refresher.errors import KubeConfigError, KubeUnreachableError
from refresher.http.connections import MOMENT
from refresher.http.failures import Peer, failure
from refresher.http.proxies import address, host_and_port, problem
from refresher.kube.credentials import Credentials, Pod, TokenFile, namespace_in
from refresher.kube.responses import Request, parse
from refresher.kube.wire import Wire
from refresher.ports import Clock

FIELD_MANAGER = "inlive-token-refresher"
TIMEOUT = 10.0  # seconds for a whole call
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

_KUBECONFIG = "~/.kube/config"
_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_CONNECTIONS = 32  # idle connections that are kept; more may be in use at once
_PIECE = 64 * 1024  # bytes of a watch that are read at once; an event is passed on as soon as it is complete
_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
_NO_PROXY = "localhost,127.0.0.0/8,::1"  # as in https://pkg.go.dev/net/http#ProxyFromEnvironment
# The client's messages about a kubeconfig that quote no secret. Others quote a whole user with its token.
_SAFE_MESSAGE = re.compile(
    r"Expected (?:key|object with name) [\w.:/@-]+|File does not exist: .*|No configuration found"
)

# For YAML that is no kubeconfig.
_WRONG_STRUCTURE = (ValueError, TypeError, LookupError, AttributeError)


class KubeApi:
    """One API server. Safe for several threads.

    Each call ends within `timeout` seconds (`http.connections` has the one exception). After a 401 it is
    retried once if the credentials have changed. `paths` builds the paths. Every call raises a KubeError
    unless it succeeds. After a KubeUnreachableError the call may have taken effect.
    """

    def __init__(
        self,
        configuration: Configuration,
        credentials: Credentials,
        clock: Clock,
        namespace: str,
        pod: Pod | None = None,
    ) -> None:
        self.server = host_and_port(configuration.host)
        self.namespace = namespace  # of our Pod, or else of the kubeconfig's context
        self.pod = pod  # None outside a cluster
        self._credentials, self._clock = credentials, clock
        self._client = _client(configuration)
        self._client.user_agent = f"{FIELD_MANAGER}/{__version__}"
        over_tls = configuration.host.startswith("https:")
        self._wire = Wire(self._client.rest_client.pool_manager, over_tls=over_tls)
        proxy = address(configuration.proxy) if configuration.proxy else None
        self._peer = Peer(f"the API server {self.server}", proxy, self._wire.trust)

    def get(self, path: str, *, timeout: float = TIMEOUT) -> dict[str, Any]:
        """The object at `path`."""
        return self.call(Request("GET", path), timeout)

    def lines(self, request: Request, timeout: float) -> Iterator[bytes]:
        """The lines of a response, each as soon as it arrives, as a watch needs. First an empty one, as soon
        as the API server has accepted the request.

        Raises KubeError at any line, also if the response has not ended after `timeout`.
        """
        credential = self._credentials.authorization()
        with self._unreachable(request, timeout):
            response = self._open(request, credential, timeout)
            try:
                if response.status != 200:
                    parse(request, _read(response), credential, self._clock.now().wall)
                yield (rest := b"")
                for piece in response.stream(_PIECE, decode_content=False):
                    *complete, rest = (rest + piece).split(b"\n")
                    yield from complete
            finally:
                response.close()

    def create(self, path: str, body: Mapping[str, Any], *, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Create an object in the collection at `path`. Raises KubeConflictError if it exists."""
        return self.call(Request("POST", path, body), timeout)

    def replace(self, path: str, body: Mapping[str, Any], *, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Replace the object at `path` with `body`.

        Raises KubeConflictError unless both have the same resourceVersion.
        """
        return self.call(Request("PUT", path, body), timeout)

    def apply(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        force: bool,
        dry_run: bool = False,
        timeout: float = TIMEOUT,
    ) -> dict[str, Any]:
        """Server-side apply as FIELD_MANAGER. The fields in `body` become ours. Fields that we owned and that
        `body` omits are removed. A missing object is created. `body` has apiVersion, kind and metadata.name.

        Without `force`, raises KubeConflictError if another manager has set a field to another value. With
        `dry_run` the API server runs the whole request, admission included, but stores nothing.
        https://kubernetes.io/docs/reference/using-api/server-side-apply/
        """
        query = (("fieldManager", FIELD_MANAGER), ("force", "true" if force else "false"))
        dry = (("dryRun", "All"),) if dry_run else ()
        return self.call(Request("PATCH", path, body, _APPLY, (*query, *dry)), timeout)

    def annotate(
        self, path: str, annotations: Mapping[str, str], *, timeout: float = TIMEOUT
    ) -> dict[str, Any]:
        """Set these annotations of the object at `path`, as ``kubectl annotate --overwrite`` does. A later
        `apply` keeps them, because it did not apply them before."""
        body = {"metadata": {"annotations": dict(annotations)}}
        return self.call(Request("PATCH", path, body, _MERGE), timeout)

    def call(self, request: Request, timeout: float) -> dict[str, Any]:
        """The object or the list in the response to any request."""
        deadline = self._clock.now().boot + timeout
        credential = self._credentials.authorization()
        response = self._send(request, credential, timeout)
        if response.status == 401:
            renewed, left = self._credentials.after_refusal(), deadline - self._clock.now().boot
            if renewed != credential and left > MOMENT:
                credential, response = renewed, self._send(request, renewed, left)
        return parse(request, response, credential, self._clock.now().wall)

    def _send(self, request: Request, credential: str | None, seconds: float) -> Response:
        """One request over the wire. Raises KubeUnreachableError."""
        with self._unreachable(request, seconds):
            return _read(self._open(request, credential, seconds))

    def _open(self, request: Request, credential: str | None, seconds: float) -> Any:
        """The response to one request, with its body not read yet. Raises the client's exceptions."""
        headers = {"Accept": request.accept, "Content-Type": request.content_type}
        if credential is not None:
            headers["Authorization"] = credential
        serialized = self._client.param_serialize(
            request.method,
            request.path,
            query_params=list(request.query),
            header_params=headers,
            body=None if request.body is None else dict(request.body),
        )
        self._wire.renew()
        return self._client.call_api(*serialized, _request_timeout=max(MOMENT, seconds)).response

    @contextmanager
    def _unreachable(self, request: Request, seconds: float) -> Iterator[None]:
        """Turns the client's exceptions during a request that had `seconds` into KubeUnreachableError."""
        try:
            yield
        except (HTTPError, ApiException, OSError) as error:
            reason = failure(error, self._peer, seconds).message
            raise KubeUnreachableError(f"{request.action}: {reason}") from error


def _read(response: Any) -> Response:
    """The whole response of the client. Frees the connection."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Response(response.status, headers, response.read(decode_content=False))


def connect(
    clock: Clock, environ: Mapping[str, str] = os.environ, service_account: str = SERVICE_ACCOUNT
) -> KubeApi:
    """The configured API server: from KUBECONFIG, the Pod we run in, or ~/.kube/config, in this order, as
    controller-runtime's `config.GetConfig`. Sends no request. Raises KubeConfigError."""
    if environ.get("KUBECONFIG"):
        return _from_kubeconfig(clock, environ["KUBECONFIG"])
    if environ.get(_HOST) and environ.get(_PORT):
        return _in_cluster(clock, environ[_HOST], environ[_PORT], service_account)
    if os.path.exists(os.path.expanduser(_KUBECONFIG)):
        return _from_kubeconfig(clock, _KUBECONFIG)
    raise KubeConfigError(
        f"no Kubernetes cluster is configured: KUBECONFIG is not set, this is no Pod ({_HOST} is not set), "
        f"and {_KUBECONFIG} does not exist"
    )


def _in_cluster(clock: Clock, host: str, port: str, service_account: str) -> KubeApi:
    """https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/"""
    credentials = TokenFile(f"{service_account}/token")
    authorities = f"{service_account}/ca.crt"
    if not os.path.exists(authorities):
        raise KubeConfigError(
            f"{authorities} does not exist, so the API server's certificate cannot be verified"
        )
    namespace = namespace_in(f"{service_account}/namespace")
    configuration = _configuration()
    configuration.host = f"https://{f'[{host}]' if ':' in host else host}:{port}"
    configuration.ssl_ca_cert = authorities
    return KubeApi(configuration, credentials, clock, namespace or "default", credentials.pod())


def _from_kubeconfig(clock: Clock, path: str) -> KubeApi:
    credentials = _Kubeconfig(path)
    return KubeApi(credentials.configuration, credentials, clock, credentials.namespace)


class _Kubeconfig:
    """Credentials of a kubeconfig: a token, a file with a token, or a program that prints a token.

    They are read again after a 401. A new server or new certificates need a restart.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()  # the client's hook renews credentials and changes the configuration
        self.configuration = self._load()
        self.namespace = self._namespace()

    def authorization(self) -> str | None:
        with self._lock:
            value = self.configuration.get_api_key_with_prefix("BearerToken")
        if value is not None and not (value.isascii() and value.isprintable()):
            raise KubeConfigError(f"the token in {self._path} has characters that a header must not contain")
        return value

    def after_refusal(self) -> str | None:
        fresh = self._load()
        with self._lock:
            self.configuration.api_key = fresh.api_key
            self.configuration.refresh_api_key_hook = fresh.refresh_api_key_hook
        return self.authorization()

    def _load(self) -> Configuration:
        configuration = _configuration()
        with _kube_config(self._path) as kube_config:
            kube_config.load_kube_config(self._path, client_configuration=configuration, persist_config=False)
        return configuration

    def _namespace(self) -> str:
        with _kube_config(self._path) as kube_config:
            _, current = kube_config.list_kube_config_contexts(self._path)
            return str(current["context"].get("namespace") or "default")


@contextmanager
def _kube_config(path: str) -> Iterator[Any]:
    """The client's module for kubeconfigs. Its import takes 10 ms and 2 MB, which a Pod is spared.

    Its exceptions become ours, without a chain, because their texts may contain secrets.
    """
    from kubernetes.config import ConfigException, kube_config  # noqa: PLC0415

    not_yaml = kube_config.yaml.YAMLError  # type: ignore[attr-defined]
    try:
        yield kube_config
    except ConfigException as error:
        safe = _SAFE_MESSAGE.search(str(error))
        reason = safe[0] if safe else "the Kubernetes client rejects it (its reason may contain a secret)"
        raise KubeConfigError(f"the kubeconfig {path} cannot be used: {reason}") from None
    except OSError as error:
        raise KubeConfigError(f"the kubeconfig {path} cannot be read: {error.strerror}") from error
    except (not_yaml, *_WRONG_STRUCTURE) as error:
        kind = type(error).__name__
        raise KubeConfigError(
            f"the kubeconfig {path} cannot be used: it is not a valid kubeconfig ({kind})"
        ) from None


def _client(configuration: Configuration) -> ApiClient:
    """Raises KubeConfigError if the environment names a proxy that cannot be used."""
    proxy = configuration.proxy or ""
    reason = problem(proxy) if proxy else ""
    if reason and not should_bypass_proxies(configuration.host, configuration.no_proxy or ""):
        raise KubeConfigError(reason)
    return ApiClient(configuration)


def _configuration() -> Configuration:
    """A configuration without urllib3's hidden retries, which would quadruple a time-out. Like kubectl, it
    takes proxies from the environment."""
    configuration = Configuration(connection_pool_maxsize=_CONNECTIONS)
    configuration.retries = False
    configuration.no_proxy = ",".join(filter(None, (configuration.no_proxy, _NO_PROXY)))
    return configuration
