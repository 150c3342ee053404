"""The custom resource definition of `AccessToken`. `make crd` writes it; a test compares it with the program.

Its structural schema is made from the options of the configuration. What a structural schema cannot express
(names in a mapping, limits of durations, rules across fields) is a rule in CEL.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from refresher.config import addresses, kube_metadata
from refresher.config.durations import format_duration
from refresher.controller.spec import (
    DEFAULT_KEY,
    FIELDS,
    GROUP,
    KEY_REFERENCE,
    KIND,
    NAME_OF_SECRET,
    PLURAL,
    VERSION,
)
from release.chart import LOOK_AHEAD

CRD = Path(__file__).parents[1] / "deploy" / "crd" / "accesstokens.yaml"
# Helm reads no file outside its directory.
COPY = CRD.parents[1] / "helm" / "inlive-token-refresher" / "files" / CRD.name
HEAD = "# The custom resource AccessToken. Made from the program's options by `make crd`.\n"
MOST_ENTRIES = 64  # of a mapping: the API server bounds the cost of CEL rules by it

_NUMBER = r"[0-9]{1,9}(\.[0-9]{1,3})?"
_DURATION = rf"^({_NUMBER}h)?({_NUMBER}m)?({_NUMBER}s)?({_NUMBER}ms)?$"  # as of Go, so without days
_DEFAULT_LIFETIME = next(field.option.default for field in FIELDS if field.path == ("lifetime",))

COLUMNS = (
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
    ("Expires", "string", ".status.expiresAt"),
    ("Due", "string", ".status.refreshDue"),
    ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason'),
    ("Age", "date", ".metadata.creationTimestamp"),
)


def definition() -> dict[str, Any]:
    """The CustomResourceDefinition."""
    names = {"kind": KIND, "listKind": f"{KIND}List", "plural": PLURAL, "singular": KIND.lower()}
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path} for name, kind, path in COLUMNS
        ],
        "schema": {"openAPIV3Schema": _object_schema()},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": names | {"shortNames": ["ilt"], "categories": ["inlive"]},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def text() -> str:
    """The content of the file."""
    plain = json.loads(json.dumps(definition()))  # without shared parts, which YAML would write as anchors
    return HEAD + yaml.safe_dump(plain, sort_keys=False, width=110)


def _object_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "A short-lived access token in a Secret, kept fresh with an application key.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _spec(),
            "status": _status(),
        },
    }


def _spec() -> dict[str, Any]:
    lifetime = f"(has(self.lifetime) ? self.lifetime : '{format_duration(_DEFAULT_LIFETIME)}')"
    delay = "duration(self.propagationDelay)"
    return {
        "type": "object",
        "required": [KEY_REFERENCE, "secret"],
        "properties": {
            KEY_REFERENCE: _reference(),
            **{field.path[0]: _field(field) for field in FIELDS if field.path[0] != "secret"},
            "secret": _secret(),
        },
        "x-kubernetes-validations": [
            _rule(
                f"!has(self.propagationDelay) || {delay} + {delay} < duration({lifetime})",
                "propagationDelay must be less than half of the lifetime",
            ),
            _rule(
                f"self.secret.name != self.{KEY_REFERENCE}.name",
                "secret.name is the Secret with the application key; name another Secret",
            ),
        ],
    }


def _reference() -> dict[str, Any]:
    key = {"description": f"The key in it; {DEFAULT_KEY} by default."} | _plain(addresses.SECRET_KEY.schema)
    rule = _rule("self != '.' && !self.startsWith('..')", "not a valid key of a Secret")
    key |= {"maxLength": addresses.LONGEST_NAME, "x-kubernetes-validations": [rule]}
    return {
        "type": "object",
        "description": "The Secret with the application key, in the namespace of this object.",
        "required": ["name"],
        "properties": {"name": _name(), "key": key},
    }


def _secret() -> dict[str, Any]:
    rule = "has(self.template) == (has(self.data) && self.data.exists(k, self.data[k] == 'template'))"
    return {
        "type": "object",
        "description": "The Secret with the token, in the namespace of this object.",
        "required": ["name"],
        "properties": {field.path[1]: _field(field) for field in FIELDS if field.path[0] == "secret"},
        "x-kubernetes-validations": [_rule(rule, "a template and the format template need each other")],
    }


def _name() -> dict[str, Any]:
    return {"description": "Its name."} | _plain(addresses.SECRET_NAME.schema)


def _field(field: Any) -> dict[str, Any]:
    option, described = field.option, {"description": field.option.doc}
    schema = option.value_type.schema
    if field == NAME_OF_SECRET:
        return _name()
    if schema.get("type") == "object":
        return described | _mapping(field.path[-1], schema)
    if schema.get("maximum", 0) > 1:
        return described | _duration(schema)
    return described | _plain(schema)


def _plain(schema: Any) -> dict[str, Any]:
    """A text, which a structural schema can describe. Its numbers are texts too."""
    wanted = {"type": "string", "pattern": LOOK_AHEAD.sub("", schema["pattern"])}
    return wanted | {key: schema[key] for key in ("maxLength",) if key in schema}


def _duration(schema: Any) -> dict[str, Any]:
    shortest, longest = int(schema["minimum"]), int(schema["maximum"])
    rule = f"duration(self) >= duration('{shortest}s') && duration(self) <= duration('{longest}s')"
    accepted = f"{format_duration(shortest)} to {longest // 3600}h"
    if "multipleOf" in schema:
        rule += " && duration(self).getMilliseconds() % 1000 == 0"
        accepted = f"whole seconds, {accepted}"
    limits = {"type": "string", "pattern": _DURATION, "minLength": 2, "maxLength": schema["maxLength"]}
    return limits | {"x-kubernetes-validations": [_rule(rule, f"accepted: {accepted}")]}


def _mapping(name: str, schema: Any) -> dict[str, Any]:
    """The rules about names are CEL, because a structural schema has no propertyNames."""
    pattern = LOOK_AHEAD.sub("", schema["propertyNames"]["pattern"])
    conditions = [f"k.matches(r'{pattern}')"]
    if name == "data":
        conditions += ["k != '.'", "!k.startsWith('..')"]
    else:
        longest = kube_metadata.LONGEST_PREFIX
        conditions += [f"k.indexOf('/') <= {longest}", f"!k.startsWith('{kube_metadata.OUR_PREFIX}')"]
        conditions += [f"k != '{kube_metadata.MANAGED_BY}'"] if name == "labels" else []
    items = dict(schema["additionalProperties"])
    converted: dict[str, Any] = {"type": "object", "maxProperties": MOST_ENTRIES}
    converted["additionalProperties"] = {"type": "string"} | items
    if "minProperties" in schema:
        converted["minProperties"] = schema["minProperties"]
    rule = _rule(
        f"self.all(k, {' && '.join(conditions)})", f"a name in {name} is not valid, or is the refresher's own"
    )
    return converted | {"x-kubernetes-validations": [rule]}


def _rule(rule: str, message: str) -> dict[str, str]:
    return {"rule": rule, "message": message}


def _status() -> dict[str, Any]:
    time, word = {"type": "string", "format": "date-time"}, {"type": "string"}
    condition = {
        "type": "object",
        "required": ["type", "status", "lastTransitionTime", "reason", "message"],
        "properties": {
            "type": word,
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "observedGeneration": {"type": "integer", "format": "int64"},
            "lastTransitionTime": time,
            "reason": word,
            "message": word,
        },
    }
    conditions = {
        "type": "array",
        "items": condition,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    }
    properties = {
        "observedGeneration": {"type": "integer", "format": "int64"},
        "expiresAt": time | {"description": "When the token in the Secret expires."},
        "refreshDue": time | {"description": "When the schedule replaces it."},
        "tokenFingerprint": word | {"description": "The first 16 hex digits of its SHA-256."},
        "conditions": conditions,
    }
    # For kstatus (Flux, Helm), an object without a status is ready. A new object has the status of a former
    # generation until the controller writes one.
    return {"type": "object", "default": {"observedGeneration": -1}, "properties": properties}


def main() -> None:
    for path in (CRD, COPY):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text())


if __name__ == "__main__":
    main()
