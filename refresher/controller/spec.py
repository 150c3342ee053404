"""The fields of an `AccessToken`, and the token that an object demands. No I/O.

Each field stands for an option of the configuration. So the loader judges objects as it judges files, and the
schema of the custom resource (`make crd`) is made from the same declarations.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from refresher.config import addresses, source_map
from refresher.config.declarations import KNOWN_KEYS, Settings, TokenSettings
from refresher.config.drafts import find_missing, read_section
from refresher.config.durations import format_duration
from refresher.config.options import Option, first_of, options_of
from refresher.config.output_kinds import KINDS
from refresher.config.rules import check_rules
from refresher.config.source_map import Path, Problems
from refresher.config.value_types import ValueType, read
from refresher.errors import ConfigurationError, Problem

GROUP, VERSION = "token-refresher.inlive.app", "v1alpha1"
KIND, PLURAL = "AccessToken", "accesstokens"
DEFAULT_KEY = "application-key"  # in the Secret with the application key

_SECRET = next(kind.settings for kind in KINDS if kind.in_cluster)
_TOKEN: Path = ("tokens", 0)
_OUTPUT: Path = (*_TOKEN, "outputs", 0)
_PLACEHOLDER = "object"  # for the options that an object does not have


class Field(NamedTuple):
    """A field of an object below ``spec``, and the option of `section` that it stands for."""

    path: tuple[str, ...]
    section: type
    key: str

    @property
    def option(self) -> Option:
        """The option."""
        return options_of(self.section)[self.key]

    @property
    def place(self) -> Path:
        """Where the option is in a configuration."""
        return (*(_TOKEN if self.section is TokenSettings else _OUTPUT), self.key)


NAME_OF_SECRET = Field(("secret", "name"), _SECRET, first_of(_SECRET).key)
FIELDS = (
    Field(("lifetime",), TokenSettings, "lifetime"),
    Field(("refreshAt",), TokenSettings, "refresh_at"),
    Field(("propagationDelay",), _SECRET, "propagation_delay"),
    NAME_OF_SECRET,
    Field(("secret", "data"), _SECRET, "data"),
    Field(("secret", "template"), _SECRET, "template"),
    Field(("secret", "labels"), _SECRET, "labels"),
    Field(("secret", "annotations"), _SECRET, "annotations"),
)
KEY_REFERENCE = "applicationKeySecretRef"
_KNOWN = KNOWN_KEYS | {"spec", KEY_REFERENCE} | {step for field in FIELDS for step in field.path}


class KeyReference(NamedTuple):
    """A key of a Secret, which holds an application key."""

    namespace: str
    secret: str
    key: str


class Demand(NamedTuple):
    """What an object demands. The token's name is NAMESPACE/NAME of the object."""

    token: TokenSettings  # its key file is empty
    key: KeyReference


def demand(document: Mapping[str, Any], longest: float) -> Demand:
    """What the object in this `document` of the API server demands. `longest`: the operator's limit for
    lifetimes, in seconds.

    Raises ConfigurationError with every problem.
    """
    metadata, spec = document["metadata"], document.get("spec")
    spec = spec if isinstance(spec, Mapping) else {}
    namespace = metadata["namespace"]
    problems = _ObjectProblems(_KNOWN)
    key = _key_reference(spec, namespace, problems)
    name = _checked(spec, NAME_OF_SECRET.path, addresses.SECRET_NAME, problems) or _PLACEHOLDER
    configuration = _configuration(spec, f"{namespace}/{name}", longest)
    root = read_section((Settings,), configuration, (), "/", problems)
    find_missing(root, problems)
    check_rules(root, problems)
    problems.raise_any()
    settings: Settings = root.built()
    token = settings.tokens[0]._replace(name=f"{namespace}/{metadata['name']}", key_file="")
    return Demand(token, key)


def problems_of(document: Mapping[str, Any], longest: float) -> tuple[Problem, ...]:
    """The mistakes in an object; empty if `demand` accepts it."""
    try:
        demand(document, longest)
    except ConfigurationError as error:
        return error.problems
    return ()


class _ObjectProblems(Problems):
    """Names the fields of the object instead of the options of a configuration."""

    def where(self, place: source_map.Place) -> str:
        return place if isinstance(place, str) else self.path_text(place)

    def path_text(self, path: Path) -> str:
        return super().path_text(_of_object(path))


def _of_object(path: Path) -> Path:
    for field in FIELDS:
        if path[: len(field.place)] == field.place:
            return ("spec", *field.path, *path[len(field.place) :])
    return ("spec",) if path[:1] == ("tokens",) else path


def _key_reference(spec: Mapping[str, Any], namespace: str, problems: Problems) -> KeyReference:
    """Where the application key is: always in the object's own namespace."""
    name = _checked(spec, (KEY_REFERENCE, "name"), addresses.SECRET_NAME, problems)
    key = DEFAULT_KEY
    if _at(spec, (KEY_REFERENCE, "key")) is not None:
        key = _checked(spec, (KEY_REFERENCE, "key"), addresses.SECRET_KEY, problems)
    if name and name == _at(spec, NAME_OF_SECRET.path):
        text = "is the Secret with the application key; who may read the token could read the key there"
        problems.add("spec.secret.name", f"{text}; name another Secret")
    return KeyReference(namespace, name, key)


def _checked(
    spec: Mapping[str, Any], path: tuple[str, ...], value_type: ValueType, problems: Problems
) -> str:
    """The value at `path`, which is required; empty if it has a problem, which is reported."""
    value, where = _at(spec, path), ".".join(("spec", *path))
    if value is None:
        problems.add(where, "is missing; write the name of a Secret in this namespace")
        return ""
    try:
        return str(read(value_type, value))
    except ValueError as error:
        problems.add(where, str(error))
        return ""


def _configuration(spec: Mapping[str, Any], secret: str, longest: float) -> source_map.Mapping:
    """The configuration that means the same as this `spec`, with the token in `secret`, NAMESPACE/NAME."""
    sections: dict[type, dict[str, Any]] = {TokenSettings: {}, _SECRET: {}}
    for field in FIELDS:
        value = _at(spec, field.path)
        if value is not None:
            sections[field.section][field.key] = value
    sections[_SECRET][NAME_OF_SECRET.key] = secret
    token = {"name": _PLACEHOLDER, "key_file": f"/{_PLACEHOLDER}", **sections[TokenSettings]}
    issuer = {"max_lifetime": format_duration(longest)}
    document = {"issuer": issuer, "tokens": [token | {"outputs": [sections[_SECRET]]}]}
    read_document: source_map.Mapping = _as_read(document)
    return read_document


def _at(spec: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = spec
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _as_read(value: Any) -> Any:
    """`value` as the loader reads it from a document."""
    if isinstance(value, list):
        return [_as_read(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    mapping = source_map.Mapping()
    mapping.update({str(key): _as_read(item) for key, item in value.items()})
    return mapping
