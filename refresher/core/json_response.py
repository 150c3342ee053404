"""The responses of any JSON endpoint that mints tokens. Dotted paths name the fields."""

from collections.abc import Mapping

from refresher.core.declared_lifetime import from_expires_at, from_expires_in
from refresher.core.issuer_plans import JsonPlan
from refresher.core.issuer_response import Issued, UnusableError
from refresher.core.model import Outcome


class JsonDialect:
    """`issuer_response.Dialect` of the endpoint in `plan`."""

    url_option = "mint"

    def __init__(self, plan: JsonPlan) -> None:
        self._plan = plan
        self.access_label = f"access token ({plan.access_token})"

    def issued(self, content: Mapping[str, object], date: float, explain: str) -> Issued:  # noqa: ARG002
        plan = self._plan
        lifetimes = (
            from_expires_in(_required(content, plan.expires_in), f"expires_in ({plan.expires_in})"),
            from_expires_at(_required(content, plan.expires_at), f"expires_at ({plan.expires_at})", date),
        )
        return Issued(_at(content, plan.access_token), lifetime=min(lifetimes))

    def outcome(self, content: Mapping[str, object]) -> Outcome | None:  # noqa: ARG002
        return None

    def message(self, content: Mapping[str, object]) -> str:
        for name in ("message", "error_description", "error"):
            text = content.get(name)
            if isinstance(text, str) and text:
                return text
        return ""

    def tokens(self, content: Mapping[str, object]) -> tuple[object, ...]:
        return (_at(content, self._plan.access_token),)


def _at(content: Mapping[str, object], path: str) -> object:
    """The value at a dotted path of object keys; None if it is missing."""
    value: object = content
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _required(content: Mapping[str, object], path: str | None) -> object:
    """The value at `path`; None without a path. Raises UnusableError if a configured field is missing."""
    if path is None:
        return None
    value = _at(content, path)
    if value is None:
        raise UnusableError(f"its body has no {path}")
    return value
