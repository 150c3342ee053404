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

    A text in the body that is only ``$lifetime`` becomes a number: whole seconds, rounded up. Write
    ``${lifetime}`` for a text, and ``$`` as ``$$``.
    """

    def __init__(
        self, plan: JsonPlan, clock: Clock, ca_file: str | None = None, pool_size: int = POOL_SIZE
    ) -> None:
        endpoint = Endpoint(plan.url, ca_file, pool_size=pool_size)
        super().__init__(f"issuer:{plan.url}", endpoint, JsonDialect(plan), clock)
        self._headers = plan.headers
        self._body = json.loads(plan.body or "null")

    def _call(self, key: SecretStr, lifetime: float) -> Call:
        seconds = math.ceil(lifetime)
        values = {"key": key.reveal(), "lifetime": str(seconds)}
        headers = {name: Template(text).safe_substitute(values) for name, text in self._headers}
        sent = None if self._body is None else json.dumps(_filled(self._body, values, seconds))
        return Call("POST", headers, sent)


def _filled(node: object, values: dict[str, str], seconds: int) -> object:
    """`node` of a body with `values` in its texts."""
    match node:
        case "$lifetime":
            return seconds
        case str():
            return Template(node).safe_substitute(values)
        case list():
            return [_filled(item, values, seconds) for item in node]
        case dict():
            return {name: _filled(item, values, seconds) for name, item in node.items()}
    return node
