"""The client of any JSON endpoint that mints a token for a key."""

import json
import math
from string import Template

from refresher.core.issuer_plans import JsonPlan
from refresher.core.json_response import JsonDialect
from refresher.core.model import SecretStr
from refresher.issuer.client import HttpIssuer
from refresher.issuer.endpoint import POOL_SIZE, Call, Endpoint
from refresher.ports import Clock


class JsonIssuer(HttpIssuer):
    """`ports.Issuer` for `plan`. Always a POST. Raises ValueError if the body in `plan` is not JSON.

    A text in the body that is only ``$lifetime`` becomes a number: whole seconds, rounded up. Write ``$``
    as ``$$``.
    """

    def __init__(
        self, plan: JsonPlan, clock: Clock, ca_file: str | None = None, pool_size: int = POOL_SIZE
    ) -> None:
        endpoint = Endpoint(plan.url, ca_file, pool_size=pool_size)
        super().__init__(f"issuer:{plan.url}", endpoint, JsonDialect(plan), clock)
        self._headers = plan.headers
        self._body = None if plan.body is None else json.loads(plan.body)
        self._has_body = plan.body is not None

    def _call(self, key: SecretStr, lifetime: float) -> Call:
        seconds = math.ceil(lifetime)
        values = {"key": key.reveal(), "lifetime": str(seconds)}

        def filled(value: object) -> object:
            if value == "$lifetime":
                return seconds
            if isinstance(value, str):
                return Template(value).safe_substitute(values)
            if isinstance(value, list):
                return [filled(item) for item in value]
            if isinstance(value, dict):
                return {name: filled(item) for name, item in value.items()}
            return value

        headers = {name: Template(text).safe_substitute(values) for name, text in self._headers}
        return Call("POST", headers, json.dumps(filled(self._body)) if self._has_body else None)
