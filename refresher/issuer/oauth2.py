"""The client of an OAuth2 token endpoint: client credentials (RFC 6749 §4.4)."""

from base64 import b64encode
from urllib.parse import quote, urlencode

from refresher.core.issuer_plans import OAuth2Plan
from refresher.core.model import SecretStr
from refresher.core.oauth2_response import OAuth2Dialect
from refresher.issuer.client import HttpIssuer
from refresher.issuer.endpoint import POOL_SIZE, Call, Endpoint
from refresher.ports import Clock

_FORM = "application/x-www-form-urlencoded"


class OAuth2Issuer(HttpIssuer):
    """`ports.Issuer` for `plan`. The server chooses the lifetime; the requested one is an upper limit."""

    def __init__(
        self, plan: OAuth2Plan, clock: Clock, ca_file: str | None = None, pool_size: int = POOL_SIZE
    ) -> None:
        endpoint = Endpoint(plan.token_url, ca_file, pool_size=pool_size)
        super().__init__(f"issuer:{plan.token_url}", endpoint, OAuth2Dialect(), clock)
        self._plan = plan

    def _call(self, key: SecretStr, lifetime: float) -> Call:  # noqa: ARG002 -- a request states no lifetime
        plan = self._plan
        fields = {"grant_type": "client_credentials"}
        if plan.scopes:
            fields["scope"] = " ".join(plan.scopes)
        fields |= dict(plan.endpoint_params)
        if plan.secret_in == "body":  # noqa: S105 -- a place
            fields |= {"client_id": plan.client_id, "client_secret": key.reveal()}
            return Call("POST", {}, urlencode(fields), _FORM)
        # RFC 6749 §2.3.1: both parts are encoded like the fields of a form first. A space becomes %20
        # and not "+", because some servers decode percent-encoding only (Authlib).
        pair = f"{quote(plan.client_id, safe='')}:{quote(key.reveal(), safe='')}"
        authorization = f"Basic {b64encode(pair.encode()).decode()}"
        return Call("POST", {"Authorization": authorization}, urlencode(fields), _FORM)
