"""The client of the Inlive API: mints access tokens, and tries new ones out."""

import threading

from refresher.core import inlive
from refresher.core.issuer_response import classify, verdict
from refresher.core.model import Declined, MintResult, Outcome, SecretStr, Try, Verdict, Verification
from refresher.http.failures import Failure
from refresher.issuer.endpoint import POOL_SIZE, USER_AGENT, Endpoint
from refresher.ports import Clock


class InliveIssuer:
    """`ports.Issuer` at `url`."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        ca_file: str | None = None,
        user_agent: str = USER_AGENT,
        pool_size: int = POOL_SIZE,
    ) -> None:
        self.lane = f"issuer:{url}"
        self._clock = clock
        self._endpoint = Endpoint(url.rstrip("/") + inlive.MINT_PATH, ca_file, user_agent, pool_size)
        # One response at a time: as objects, 1 MiB of JSON takes 20 MiB and more.
        self._reading = threading.Lock()

    def mint(self, key: SecretStr, lifetime: float, budget: float) -> MintResult:
        """See `ports.Issuer`. Asks for whole seconds, rounded up.

        Failures that pass by themselves (a refused or reset connection, a cut response, 502 and 504) are
        retried soon, three tries in all (issuer/quick_retry.py).
        """
        by = self._clock.now().boot + budget

        def left() -> float:
            return by - self._clock.now().boot

        def one_try() -> tuple[MintResult, bool]:
            return self._try(key, lifetime, left())

        result, passes = one_try()
        if not passes:
            return result
        from refresher.issuer.quick_retry import persist  # noqa: PLC0415 -- tenacity: 14 ms most never need

        return persist(result, one_try, left)

    def _try(self, key: SecretStr, lifetime: float, seconds: float) -> tuple[MintResult, bool]:
        """One request, and whether its failure passes by itself."""
        sent = self._clock.now()
        response = self._endpoint.ask("POST", key, seconds, inlive.mint_request(lifetime))
        received = self._clock.now()
        took = received.boot - sent.boot
        if isinstance(response, Failure):
            declined = Declined(response.outcome, response.message)
            return MintResult(declined, sent, (Try(response.outcome, took),)), response.passes
        with self._reading:
            meaning = classify(response, key, lifetime, received.wall)
        outcome = Outcome.OK
        if isinstance(meaning, Declined):
            outcome = meaning.outcome
            meaning = meaning._replace(message=self._endpoint.with_url(meaning.message))
        skew = response.clock_skew(sent.wall, received.wall)
        return MintResult(meaning, sent, (Try(outcome, took),), skew), response.status in (502, 504)


class UrlVerifier:
    """`ports.Verifier` that sends a GET with the token to `url`, which Inlive protects by tokens."""

    def __init__(self, url: str, ca_file: str | None = None, pool_size: int = POOL_SIZE) -> None:
        self.lane = f"verify:{url}"
        self._endpoint = Endpoint(url, ca_file, pool_size=pool_size)

    def verify(self, token: SecretStr, budget: float) -> Verification:
        """See `ports.Verifier`."""
        response = self._endpoint.ask("GET", token, budget)
        if isinstance(response, Failure):
            return Verification(Verdict.INCONCLUSIVE, response.message)
        return verdict(response)
