"""The watches of a controller: its `AccessToken` objects, the Secrets with application keys, and the metadata
of the Secrets with tokens."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from refresher.config.kube_metadata import MANAGED_BY
from refresher.controller.known import KEY_SELECTOR, Keys, Known, Stored, keys_in, stored
from refresher.controller.scope import Scope
from refresher.controller.spec import KIND, KeyReference
from refresher.core.model import SecretStr
from refresher.errors import KeyUnreadableError, KubeApiMissingError, KubeError, KubeNotFoundError
from refresher.kube.api import KubeApi
from refresher.kube.paths import accesstokens_path, secrets_path
from refresher.kube.watch import BY_DEFAULT, Collection, Timing, Watch
from refresher.outputs.secret_body import LABELLED

TOKEN_SELECTOR = f"{MANAGED_BY}={LABELLED}"


class Watches:
    """Three watches for each namespace of `scope`, or three for the whole cluster.

    `changed` is called after each change except one of a status, `judged` with a collection and why it cannot
    be watched now, or None. Any thread may call the functions that return what is known.
    """

    def __init__(  # noqa: PLR0913 -- all but the first two are keywords
        self,
        api: KubeApi,
        scope: Scope,
        *,
        longest: float,
        changed: Callable[[], None],
        judged: Callable[[Collection, str | None], None],
        roll: Callable[[], float],
        timing: Timing = BY_DEFAULT,
    ) -> None:
        def keep(document: Mapping[str, Any], before: Stored | None) -> Stored | None:
            return stored(document, before, longest)

        def judge(collection: Collection, error: KubeError | None) -> None:
            judged(collection, None if error is None else _explained(error))
            changed()  # the first result, also a failure, decides whether objects wait for their keys

        common: Any = {"changed": changed, "judged": judge, "roll": roll, "timing": timing}
        self._objects: dict[str, Watch[Stored]] = {}
        self._keys: dict[str, Watch[Keys]] = {}
        self._tokens: dict[str, Watch[str]] = {}  # their versions
        for namespace in scope.namespaces or ("",):
            where = f"in namespace {namespace}" if namespace else "of the cluster"
            objects = Collection(f"the {KIND}s {where}", accesstokens_path(namespace), scope.selector)
            keys = Collection(f"the key Secrets {where}", secrets_path(namespace), KEY_SELECTOR)
            self._objects[namespace] = Watch(api, objects, keep=keep, differs=_demands_differ, **common)
            self._keys[namespace] = Watch(api, keys, keep=keys_in, **common)
            tokens = Collection(
                f"the token Secrets {where}", secrets_path(namespace), TOKEN_SELECTOR, metadata_only=True
            )
            unnoticed: Any = common | {"changed": lambda: None}
            self._tokens[namespace] = Watch(api, tokens, keep=_version, **unnoticed)

    def all(self) -> "Iterator[Watch[Any]]":
        """Every watch."""
        yield from self._objects.values()
        yield from self._keys.values()
        yield from self._tokens.values()

    def start(self, spawn: Callable[[Callable[[], None], str], object]) -> None:
        """Run each watch on a thread that `spawn` starts, for example `Workers.run`."""
        for number, watch in enumerate(self.all(), 1):
            spawn(watch.run, f"watch-{number}")

    def objects(self) -> dict[str, Known]:
        """The objects by the names of their tokens. An object whose namespace has not been asked for keys yet
        is left out: it would seem to have none."""
        found: dict[str, Known] = {}
        for namespace, watch in self._objects.items():
            keys = self._keys[namespace]
            if keys.has_listed or keys.failure is not None:
                found |= {item.known.token: item.known for item in watch.objects().values()}
        return found

    def object(self, token: str) -> Known | None:
        """The object of the token with this name."""
        found = self.stored(token)
        return found.known if found else None

    def stored(self, token: str) -> Stored | None:
        """The object of the token with this name, as the API server has it."""
        namespace, _, name = token.partition("/")
        watch = _of(self._objects, namespace)
        return watch.get((namespace, name)) if watch else None

    def key_secrets(self) -> set[tuple[str, str]]:
        """Namespace and name of each Secret with application keys."""
        return {name for watch in self._keys.values() for name in watch.objects()}

    def key(self, reference: KeyReference) -> SecretStr:
        """The key at `reference`. Raises KeyUnreadableError."""
        namespace, secret, key = reference
        watch = _of(self._keys, namespace)
        found: Keys | None = watch.get((namespace, secret)) if watch else None
        if found is None:
            failure = watch.failure if watch else None
            if watch is not None and not watch.has_listed and failure is not None:
                raise KeyUnreadableError(f"{watch.collection.noun} cannot be listed: {_explained(failure)}")
            label = f"kubectl label secret {secret} --namespace={namespace} {KEY_SELECTOR}"
            problem = f"no Secret {secret} with the label {KEY_SELECTOR} is in namespace {namespace}"
            raise KeyUnreadableError(f"{problem}: create it with this label, or label it: {label}")
        value = found.get(key)
        if value is None:
            names = ", ".join(sorted(found)) or "none"
            raise KeyUnreadableError(f"the Secret {namespace}/{secret} has no key {key}; it has: {names}")
        if isinstance(value, str):
            raise KeyUnreadableError(f"the Secret {namespace}/{secret} holds no key in {key}: {value}")
        return value

    def token_version(self, namespace: str, secret: str) -> str | None:
        """The version of this Secret with a token; empty without one, None if it is unknown."""
        watch = _of(self._tokens, namespace)
        if watch is None or not watch.has_listed or watch.failure is not None:
            return None
        return watch.get((namespace, secret)) or ""

    def unready(self) -> list[dict[str, Any]]:
        """The collections that were never listed, with the reason: for a readiness probe."""
        return [
            {"watch": watch.collection.noun, "problem": str(watch.failure or "not listed yet")}
            for watch in self.all()
            if not watch.has_listed
        ]


class WatchedKey:
    """`ports.KeySource` of a key in a watched Secret."""

    __slots__ = ("_watches", "lane", "name", "reference")

    def __init__(self, reference: KeyReference, watches: Watches) -> None:
        self.reference, self._watches = reference, watches
        self.name = f"secret:{reference.namespace}/{reference.secret}[{reference.key}]"
        self.lane = "key:kubernetes"

    def read(self) -> SecretStr:
        """See `ports.KeySource`."""
        return self._watches.key(self.reference)


def _demands_differ(before: Stored, after: Stored) -> bool:
    return before.known is not after.known


def _version(document: Mapping[str, Any], _before: str | None) -> str:
    return str(document["metadata"].get("resourceVersion", ""))


def _of(watches: Mapping[str, "Watch[Any]"], namespace: str) -> "Watch[Any] | None":
    return watches.get(namespace) or watches.get("")


def _explained(error: KubeError) -> str:
    """Why a collection cannot be watched, and what to do."""
    if isinstance(error, KubeNotFoundError | KubeApiMissingError):
        return f"{error}; install the custom resource AccessToken (v1alpha1): deploy/crd/accesstokens.yaml"
    return str(error)
