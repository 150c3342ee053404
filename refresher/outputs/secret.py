"""A token in a Secret of Kubernetes, by server-side apply: only our own keys, and nobody else's."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from refresher.core import formats
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
from refresher.outputs.secret_body import Plan, Seen

_LONG_TOKEN = 2048  # characters, for a dry run


class SecretOutput:
    """`ports.Output` in a Secret, whose annotations say what is in it (`secret_body`).

    It is written on condition that it is still what was looked at just before: a Secret that another
    installation, or anybody, has taken or changed meanwhile is not overwritten. Needed are the verbs get and
    patch on it and, unless it is there already, create.

    `time_left`: for how many seconds from now it may be written; asked just before, and the request is given
    no longer. What reaches the API server later all the same finds the Secret changed if a new leader has
    written it, and fails.
    """

    def __init__(self, plan: Plan, api: KubeApi, time_left: Callable[[], float] = lambda: math.inf) -> None:
        self.name = f"secret:{plan.namespace}/{plan.secret}"
        self.lane = "secret"
        self.secret: tuple[str, str] | None = (plan.namespace, plan.secret)
        self.includes_refresh_token = any(
            formats.includes_refresh_token(form) for form in plan.formats.values()
        )
        self._plan = plan
        self._api, self._time_left = api, time_left
        self._path = secret_path(plan.namespace, plan.secret)

    def inspect(self, now: Instant) -> Holding:
        """See `ports.Output`. Of a Secret of another installation it is told as well what consumers have."""
        with self._telling("read", OutputOutOfSightError):
            found = self._look()
        return secret_body.holding(found, self._plan, now) if found is not None else Holding()

    def write(self, token: Token, now: Instant, sealer: Sealer) -> None:
        """See `ports.Output`."""
        values = self._plan.render(token, now)
        with self._telling("written"):
            made = secret_body.seen(self._put(values, token.facts, sealer))
        left = secret_body.holding(made, self._plan, now)
        if left.facts is None or left.facts.fingerprint != token.facts.fingerprint or not left.intact:
            raise OutputError(
                f"{self.name} does not hold what was just written: look for an admission webhook that alters"
                " it"
            )

    def claim(self) -> None:
        """See `ports.Output`. There is none: the API server stores the whole of a Secret or nothing."""

    def dry_run(self) -> tuple[str, ...]:
        """Have the API server try out a whole write, and keep nothing of it (``dryRun=All``)."""
        origin = Instant(0.0, 0.0)
        access, refresh = SecretStr("x" * _LONG_TOKEN), SecretStr("x" * _LONG_TOKEN)
        nobody = "0" * len(access.fingerprint)
        facts = TokenFacts(
            origin, 1.0, 1.0, nobody, access.fingerprint, has_refresh_token=True, issuer=self._plan.issuer_url
        )
        values = self._plan.render(Token(facts, access, refresh), origin)
        with self._telling("written"):
            self._put(values, facts, Sealer(access), dry_run=True)
        return ()

    def _look(self) -> Seen | None:
        """The Secret as it is; None if there is none. Raises KubeError."""
        try:
            return secret_body.seen(self._api.get(self._path))
        except KubeNotFoundError:
            return None

    def _put(
        self, values: Mapping[str, bytes], facts: TokenFacts, sealer: Sealer, *, dry_run: bool = False
    ) -> dict[str, Any]:
        """The Secret with `values` in it, as the API server has it then. Raises KubeError or OutputError.

        By force, because others may have altered what is ours; what is not ours was seen to before.
        """
        found = self._look()
        objection = secret_body.objection(found, self._plan, values)
        if objection is not None:
            raise OutputError(f"{self.name} cannot be written: {objection}")
        body = secret_body.manifest(found, self._plan, facts, values, sealer)
        left = math.inf if dry_run else self._time_left()
        if left <= 0:
            raise OutputError(f"{self.name} is not written: another process leads now, or is about to")
        return self._api.apply(self._path, body, force=True, dry_run=dry_run, timeout=min(TIMEOUT, left))

    @contextmanager
    def _telling(self, what: str, as_error: type[OutputError] = OutputError) -> Iterator[None]:
        """Turns a KubeError into an OutputError that says which output, why, and what to do."""
        try:
            yield
        except KubeError as error:
            asked = error.retry_after if isinstance(error, KubeThrottledError) else None
            raise as_error(f"{self.name} cannot be {what}: {self._explained(error)}", asked) from error

    def _explained(self, error: KubeError) -> str:
        match error:
            case KubeNotFoundError():
                advice = (
                    f"there is no namespace {self._plan.namespace}: create it, or correct that of the Secret"
                )
            case KubeConflictError():
                advice = "somebody changed it at the same moment; it is tried again"
            case KubeDeniedError() if "being terminated" in str(error):
                advice = "let that end and create the namespace anew, or correct that of the Secret"
            case _:
                return str(error)
        return f"{error}; {advice}"
