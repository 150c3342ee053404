"""The clients of issuers, which mint access tokens. Inlive's is here, and the verifier of new tokens."""

import json
import threading
from abc import ABC, abstractmethod

from refresher.core import inlive
from refresher.core.issuer_response import INLIVE, Dialect, classify, verdict
from refresher.core.model import Declined, MintResult, Outcome, SecretStr, Try, Verdict, Verification
from refresher.http.failures import Failure
from refresher.issuer.endpoint import POOL_SIZE, USER_AGENT, Call, Endpoint, bearer
from refresher.ports import Clock


class HttpIssuer(ABC):
    """`ports.Issuer` at one endpoint. A kind of issuer defines its request and dialect."""

    interval = 0.0  # seconds; see `ports.Issuer`
    # One response at a time, of all issuers: 1 MiB of JSON takes 20 MiB or more as objects.
    _parsing = threading.Lock()

    def __init__(self, lane: str, endpoint: Endpoint, dialect: Dialect, clock: Clock) -> None:
        self.lane = lane
        self._endpoint, self._dialect, self._clock = endpoint, dialect, clock

    @abstractmethod
    def _call(self, key: SecretStr, lifetime: float) -> Call:
        """The request for a token of `lifetime` seconds."""

    def mint(self, key: SecretStr, lifetime: float, budget: float) -> MintResult:
        """See `ports.Issuer`.

        Transient failures (a refused or reset connection, a truncated response, 502 and 504) are retried
        within the budget, three tries in all (issuer/retries.py). With an `interval`, only the schedule
        retries: so the engine controls the time of each request.
        """
        deadline = self._clock.now().boot + budget

        def time_left() -> float:
            return deadline - self._clock.now().boot

        def one_try() -> tuple[MintResult, bool]:
            return self._try(key, lifetime, time_left())

        result, is_transient = one_try()
        if not is_transient or self.interval:
            return result
        from refresher.issuer.retries import retry  # noqa: PLC0415 -- tenacity: 14 ms, rarely needed

        return retry(result, one_try, time_left)

    def _try(self, key: SecretStr, lifetime: float, seconds: float) -> tuple[MintResult, bool]:
        """Send one request. Returns its result and whether it is a transient failure."""
        sent = self._clock.now()
        response = self._endpoint.request(self._call(key, lifetime), seconds)
        received = self._clock.now()
        took = received.boot - sent.boot
        if isinstance(response, Failure):
            declined = Declined(response.outcome, response.message)
            return MintResult(declined, sent, (Try(response.outcome, took),)), response.is_transient
        with self._parsing:
            answer = classify(response, key, lifetime, received.wall, self._dialect)
        outcome = Outcome.OK
        if isinstance(answer, Declined):
            outcome = answer.outcome
            answer = answer._replace(message=self._endpoint.with_url(answer.message))
        skew = response.clock_skew(sent.wall, received.wall)
        return MintResult(answer, sent, (Try(outcome, took),), skew), response.status in (502, 504)


class InliveIssuer(HttpIssuer):
    """The Inlive API at `url`."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        ca_file: str | None = None,
        user_agent: str = USER_AGENT,
        pool_size: int = POOL_SIZE,
    ) -> None:
        endpoint = Endpoint(url.rstrip("/") + inlive.MINT_PATH, ca_file, user_agent, pool_size)
        super().__init__(f"issuer:{url}", endpoint, INLIVE, clock)

    def _call(self, key: SecretStr, lifetime: float) -> Call:
        """Requests a lifetime in whole seconds, rounded up."""
        return Call("POST", bearer(key), json.dumps(inlive.mint_request(lifetime)))


class UrlVerifier:
    """`ports.Verifier` that sends a GET with the token to `url`, which accepts only valid tokens."""

    def __init__(self, url: str, ca_file: str | None = None, pool_size: int = POOL_SIZE) -> None:
        self.lane = f"verify:{url}"
        self._endpoint = Endpoint(url, ca_file, pool_size=pool_size)

    def verify(self, token: SecretStr, budget: float) -> Verification:
        """See `ports.Verifier`."""
        response = self._endpoint.request(Call("GET", bearer(token)), budget)
        if isinstance(response, Failure):
            return Verification(Verdict.INCONCLUSIVE, response.message)
        return verdict(response)
