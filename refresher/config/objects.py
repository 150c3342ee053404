"""What options about Kubernetes take: the names of objects, and which key of a Secret holds what."""

import re

from refresher.config.kinds import FORMAT, Kind, MisfitsError, anchored, misfit, read, text_of
from refresher.config.located import Mapping
from refresher.config.wording import LONGEST_QUOTE, described, shown
from refresher.core import formats

LONGEST_NAME = 253  # of an object, and of a key in a Secret

# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/: a DNS label (RFC 1123) for the
# namespace; a DNS subdomain for Secrets and Leases, whose parts Kubernetes allows to be longer than DNS does.
_NAMESPACE = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_PART = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_OBJECT = rf"(?:{_NAMESPACE}/)?(?=.{{1,{LONGEST_NAME}}}$){_PART}(?:\.{_PART})*"
_OBJECT_ACCEPTED = (
    "[NAMESPACE/]NAME, both of a-z, 0-9 and -, dots in the name, a letter or digit at either end"
)


def _object(sort: str) -> Kind:
    def parse(value: object) -> str:
        text = text_of(value, _OBJECT_ACCEPTED)
        if re.fullmatch(_OBJECT, text):
            return text
        raise ValueError(
            f"{shown(text)} is not the name of a {sort}{_meant(text) or ';'} accepted: {_OBJECT_ACCEPTED}"
        )

    longest = 63 + 1 + LONGEST_NAME
    schema = {"type": "string", "pattern": anchored(_OBJECT), "maxLength": longest}
    return Kind(parse, schema, "[NAMESPACE/]NAME")


def _meant(text: str) -> str:
    name = re.sub(r"[_\s]+", "-", text.lower().replace(":", "/")).strip("-./")
    fits = len(name) <= LONGEST_QUOTE and re.fullmatch(_OBJECT, name)
    return f"; did you mean {name}?" if fits and _is_text(name) else ""


def _is_text(word: str) -> bool:
    """Whether YAML takes it for a text, so that it can be written as it is suggested."""
    from refresher.config.yaml_source import resolved  # noqa: PLC0415 - only for who made a mistake

    return isinstance(resolved(word), str)


SECRET = _object("Secret")
LEASE = _object("Lease")


def placed(name: str, home: str) -> tuple[str, str]:
    """Namespace and name of what is configured as [NAMESPACE/]NAME; `home` is the namespace of what names
    none."""
    namespace, _, name = name.rpartition("/")
    return namespace or home, name


# What a Secret holds

_KEY = rf"(?!\.\.|\.$)[-._a-zA-Z0-9]{{1,{LONGEST_NAME}}}"  # `IsConfigMapKey` in apimachinery's validation
_KEY_ACCEPTED = f"1 to {LONGEST_NAME} of a-z, A-Z, 0-9, -, _ and ., not beginning in two dots"
_DATA_ACCEPTED = "a mapping of the Secret's keys to formats, such as {access-token: token}"


def parse_data(value: object) -> tuple[tuple[str, str], ...]:
    """Each key with its format, in the order given. Raises MisfitsError where either is none."""
    if not isinstance(value, Mapping) or not value:
        given = "an empty mapping" if isinstance(value, Mapping) else described(value)
        raise misfit(f"{given} is given", _DATA_ACCEPTED)
    problems = list(value.repetitions())
    data: list[tuple[str, str]] = []
    for key, form in value.items():
        if not re.fullmatch(_KEY, key):
            problems.append((key, _no_key(key)))
        try:
            data.append((key, read(FORMAT, form)))
        except ValueError as error:
            problems.append((key, str(error)))
    if problems:
        raise MisfitsError(problems)
    return tuple(data)


def _no_key(key: str) -> str:
    meant = re.sub(r"[^-._a-zA-Z0-9]+", "-", key).strip("-.")
    fits = len(meant) <= LONGEST_QUOTE and re.fullmatch(_KEY, meant) and _is_text(meant)
    hint = f"did you mean {meant}? " if fits else ""
    return f"not a key that a Secret can have; {hint}accepted: {_KEY_ACCEPTED}"


DATA = Kind(
    parse_data,
    {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": anchored(_KEY)},
        "additionalProperties": {"enum": list(formats.NAMES)},
    },
    "",
    dict,
)
