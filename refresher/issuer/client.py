"""The client of the Inlive API: mints access tokens (inlive-api, "Mint"), and has them tried out."""

import math
import threading

from refresher.core.answers import classify, skew, verdict
from refresher.core.formats import MINT_PATH
from refresher.core.model import Declined, MintResult, Outcome, SecretStr, Try, Verdict, Verification
from refresher.issuer.endpoint import POOL_SIZE, USER_AGENT, Endpoint, Unanswered
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
        self._endpoint = Endpoint(url.rstrip("/") + MINT_PATH, ca_file, user_agent, pool_size)
        # One answer at a time: as objects, 1 MiB of JSON takes 20 MiB and more.
        self._reading = threading.Lock()

    def mint(self, key: SecretStr, lifetime: float, budget: float) -> MintResult:
        """See `ports.Issuer`. A fraction of a second of `lifetime` is asked for as a whole one.

        What passes by itself, a refused or reset connection, a cut answer, 502 and 504, is tried again soon,
        three tries in all (issuer/quick_retry.py).
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

    def close(self) -> None:
        """Close the idle connections. A mint under way is not disturbed."""
        self._endpoint.close()

    def _try(self, key: SecretStr, lifetime: float, seconds: float) -> tuple[MintResult, bool]:
        """One request, and whether its failure passes by itself."""
        sent = self._clock.now()
        answer = self._endpoint.ask("POST", key, seconds, {"expiry_seconds": math.ceil(lifetime)})
        received = self._clock.now()
        if isinstance(answer, Unanswered):
            tried = Try(answer.declined.outcome, received.boot - sent.boot)
            return MintResult(answer.declined, sent, (tried,)), answer.passes
        with self._reading:
            meaning = classify(answer, key, lifetime, received.wall)
        outcome = Outcome.OK
        if isinstance(meaning, Declined):
            outcome, meaning = meaning.outcome, self._endpoint.located(meaning)
        tried = Try(outcome, received.boot - sent.boot)
        ahead = skew(answer.headers, sent.wall, received.wall)
        return MintResult(meaning, sent, (tried,), ahead), answer.status in (502, 504)


class UrlVerifier:
    """`ports.Verifier` that asks `url` with the token: any GET that Inlive protects with one."""

    def __init__(self, url: str, ca_file: str | None = None, pool_size: int = POOL_SIZE) -> None:
        self.lane = f"verify:{url}"
        self._endpoint = Endpoint(url, ca_file, pool_size=pool_size)

    def verify(self, token: SecretStr, budget: float) -> Verification:
        """See `ports.Verifier`."""
        answer = self._endpoint.ask("GET", token, budget)
        if isinstance(answer, Unanswered):
            return Verification(Verdict.INCONCLUSIVE, answer.declined.message)
        return verdict(answer)

    def close(self) -> None:
        """Close the idle connections."""
        self._endpoint.close()
