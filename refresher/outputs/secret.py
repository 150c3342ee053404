"""A token in a Kubernetes Secret, written by server-side apply. Only our own keys are written."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from refresher.core import formats, rfc3339
from refresher.core.instant import Instant
from refresher.core.model import Holding, SecretStr, Token, TokenFacts
from refresher.core.seal import Sealer
from refresher.errors import (
    KubeConflictError,
    KubeDeniedError,
    KubeError,
    KubeNotFoundError,
    KubeThrottledError,
    OutputError,
    OutputOutOfSightError,
)
from refresher.kube.api import TIMEOUT, KubeApi
from refresher.kube.paths import secret_path
from refresher.outputs import secret_body
from refresher.outputs.secret_body import Seen
from refresher.outputs.secret_plan import Plan
from refresher.ports import forever

READ_ANEW = 900.0  # seconds after which a Secret is read again although a watch sees no change

_LONG_TOKEN = 2048  # characters, for a dry run


class SecretOutput:
    """`ports.Output` in a Secret. Its annotations describe the token (`secret_body`).

    Each write first reads the Secret, and fails if another client changes it in between. It needs the verbs
    get and patch on the Secret and, if the Secret does not exist, create.

    `time_left` returns for how many seconds from now this process may write. It is called just before a
    write, and limits the request. A request that arrives later fails if the next leader has written the
    Secret.
    """

    def __init__(  # noqa: PLR0913 -- all but the first three are keywords
        self,
        plan: Plan,
        api: KubeApi,
        time_left: Callable[[], float] = forever,
        *,
        deletes: bool = False,
        requested: Callable[[], float | None] = lambda: None,
        watched: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`deletes`: whether `release` removes what we wrote. `requested` returns the wall time of a request
        for a new token that was placed outside the Secret; None without one. `watched` returns the version of
        the Secret (resourceVersion) that a watch has seen last; None if that is unknown."""
        self.name = f"secret:{plan.namespace}/{plan.secret}"
        self.lane = "secret"
        self.secret: tuple[str, str] | None = (plan.namespace, plan.secret)
        self.includes_refresh_token = any(
            formats.includes_refresh_token(format_) for format_ in plan.formats.values()
        )
        self._plan = plan
        self._api, self._time_left, self._deletes = api, time_left, deletes
        self._requested, self._watched = requested, watched
        # As read last: version (empty if the Secret was missing), when (boot seconds), content. None without
        # a watch, which would notice a change.
        self._last: tuple[str, float, Holding] | None = None
        self._requested_before: float | None = None  # by `requested`, at the last inspection
        self._is_released = False
        self._path = secret_path(plan.namespace, plan.secret)

    def inspect(self, now: Instant) -> Holding:
        """See `ports.Output`. Also describes a Secret of another installation."""
        version, last, requested = self._watched(), self._last, self._requested()
        if last is not None and version == last[0] and now.boot - last[1] < READ_ANEW:
            held = secret_body.as_of(last[2], now)
        else:
            with self._output_errors("read", OutputOutOfSightError):
                found = self._read()
                held = self._remembered(found, now)
        self._requested_before = requested
        requests = [requested, held.refresh_requested]
        return held._replace(refresh_requested=max(filter(None, requests), default=None))

    def has_changed(self) -> bool:
        """See `ports.Output`. The watch has seen another version or another request, or it fails."""
        last = self._last
        return last is not None and (self._watched(), self._requested()) != (last[0], self._requested_before)

    def _remembered(self, found: Seen | None, now: Instant) -> Holding:
        """The content of the Secret, which was read at `now`; `watched` if a watch follows it."""
        is_followed = self._watched() is not None
        held, version = Holding(), ""
        if found is not None:
            held, version = secret_body.holding(found, self._plan, now), found.resource_version
            requested = _refresh_requested(found, self._plan)
            held = held._replace(refresh_requested=requested, watched=is_followed)
        self._last = (version, now.boot, held) if is_followed else None
        return held

    def _is_still_missing(self) -> bool:
        """Whether the Secret did not exist when it was read last, and the watch has not seen it since."""
        return self._last is not None and self._last[0] == self._watched() == ""

    def write(self, token: Token, now: Instant, sealer: Sealer) -> None:
        """See `ports.Output`."""
        values = self._plan.render(token, now)
        with self._output_errors("written"):
            written = secret_body.seen(self._put(values, token.facts, sealer))
        held = self._remembered(written, now)
        if held.facts is None or held.facts.fingerprint != token.facts.fingerprint or not held.intact:
            raise OutputError(
                "does not hold what was just written: check for an admission webhook that "
                "changes its values, labels or annotations"
            )

    def request_refresh(self, at: float) -> None:
        """See `ports.Output`. Needs the verb patch on the Secret, which must exist."""
        with self._output_errors("asked for a new token"):
            self._api.annotate(self._path, {secret_body.REFRESH: rfc3339.to_microsecond(at)})

    def request_seen(self) -> float | None:
        """See `ports.Output`. Nothing: this would be a request to the API server."""
        return None

    def claim(self) -> None:
        """See `ports.Output`. Nothing to do: the API server never stores half a Secret."""

    def release(self, wanted: Callable[[], Collection[str]]) -> bool:
        """See `ports.Output`. Removes our keys, labels and annotations. The Secret itself stays: it may
        belong to other clients, and deleting it needs one more permission."""
        self._is_released = True
        if not self._deletes or self.name in wanted():
            return False
        with self._output_errors("emptied"):
            found = self._read()
            left = self._time_left()
            if found is None or left <= 0:  # the leader does it
                return False
            if found.owner != self._plan.owner:
                raise OutputError(f"is not this installation's ({found.owner!r} is its owner)")
            # What a manifest leaves out is removed. Like a write, this fails if the Secret has changed since.
            names = {"name": self._plan.secret, "namespace": self._plan.namespace}
            metadata = names | {"resourceVersion": found.resource_version}
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": secret_body.TYPE}
            self._api.apply(self._path, body, force=True, timeout=min(TIMEOUT, left))
        return True

    def dry_run(self) -> tuple[str, ...]:
        """Send a whole write that the API server checks but does not store (``dryRun=All``)."""
        origin = Instant(0.0, 0.0)
        access, refresh = SecretStr("x" * _LONG_TOKEN), SecretStr("x" * _LONG_TOKEN)
        key = "0" * len(access.fingerprint)
        facts = TokenFacts(
            origin, 1.0, 1.0, key, access.fingerprint, has_refresh_token=True, issuer=self._plan.issuer_url
        )
        values = self._plan.render(Token(facts, access, refresh), origin)
        with self._output_errors("written"):
            self._put(values, facts, Sealer(access), dry_run=True)
        return ()

    def _read(self) -> Seen | None:
        """The Secret; None if it does not exist. Raises KubeError."""
        try:
            return secret_body.seen(self._api.get(self._path))
        except KubeNotFoundError:
            return None

    def _put(
        self, values: Mapping[str, bytes], facts: TokenFacts, sealer: Sealer, *, dry_run: bool = False
    ) -> dict[str, Any]:
        """Apply `values`. Returns the new Secret. Raises KubeError or OutputError.

        Applies by force, because other clients may have changed our fields. `objection` protects theirs. A
        Secret that is still missing is not read again: if another client creates it, the apply conflicts.
        """
        if self._is_still_missing():
            with suppress(KubeConflictError):
                return self._put_over(None, values, facts, sealer, dry_run=dry_run)
            self._last = None
        return self._put_over(self._read(), values, facts, sealer, dry_run=dry_run)

    def _put_over(
        self,
        found: Seen | None,
        values: Mapping[str, bytes],
        facts: TokenFacts,
        sealer: Sealer,
        *,
        dry_run: bool,
    ) -> dict[str, Any]:
        """Apply `values` to the Secret that was read as `found`."""
        if self._is_released:  # this write was under way
            raise OutputError("is not written: it is no longer configured")
        objection = secret_body.objection(found, self._plan, values)
        if objection is not None:
            raise OutputError(f"cannot be written: {objection}")
        body = secret_body.manifest(found, self._plan, facts, values, sealer)
        left = math.inf if dry_run else self._time_left()
        if left <= 0:
            raise OutputError("is not written: another process leads now, or soon will")
        return self._api.apply(self._path, body, force=True, dry_run=dry_run, timeout=min(TIMEOUT, left))

    @contextmanager
    def _output_errors(self, action: str, kind: type[OutputError] = OutputError) -> Iterator[None]:
        """Turns a KubeError into an OutputError with the output, the reason, and what to do."""
        try:
            yield
        except KubeError as error:
            retry_after = error.retry_after if isinstance(error, KubeThrottledError) else None
            message = f"cannot be {action}: {self._explained(error)}"
            raise kind(message, retry_after) from error

    def _explained(self, error: KubeError) -> str:
        match error:
            case KubeNotFoundError():
                advice = (
                    f"the namespace {self._plan.namespace} does not exist: create it, or correct it in the "
                    "configuration"
                )
            case KubeConflictError():
                advice = "another client changed it at the same moment; the refresher will retry"
            case KubeDeniedError() if "being terminated" in str(error):
                advice = "wait until it is deleted and create it again, or correct it in the configuration"
            case _:
                return str(error)
        return f"{error}; {advice}"


def _refresh_requested(found: Seen, plan: Plan) -> float | None:
    """The wall time that the annotation ``refresh`` names. None if it is missing or malformed, or if another
    installation owns the Secret."""
    if found.owner not in ("", plan.owner):
        return None
    try:
        return rfc3339.parse(found.annotations.get("refresh", ""))
    except ValueError:
        return None
