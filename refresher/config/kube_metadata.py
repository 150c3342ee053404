"""Labels and annotations that users give to their Secrets, checked as Kubernetes checks them."""

import re
from functools import partial

from refresher.config.addresses import Pairs, named_values
from refresher.config.quoting import described, shown
from refresher.config.source_map import Mapping
from refresher.config.value_types import ValueType, anchored, not_accepted, text_of

OUR_PREFIX = "token-refresher.inlive.app/"
MANAGED_BY = "app.kubernetes.io/managed-by"
LONGEST_PREFIX = 253  # characters, of a DNS subdomain (RFC 1123)

# Kubernetes allows 256 KiB of names and values together (TotalAnnotationSizeLimitB, apimachinery's
# pkg/api/validation/objectmeta.go). The annotations of the refresher itself fit into the rest.
LARGEST_ANNOTATIONS = 240 * 1024  # bytes

# IsQualifiedName and IsValidLabelValue in apimachinery's pkg/util/validation/validation.go. In the name of an
# annotation, the case of the prefix does not matter (ValidateAnnotations in pkg/api/validation).
_NAME = r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_PART = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_PART_OF_ANY_CASE = _PART.replace("a-z", "a-zA-Z")
VALUE = rf"(?:{_NAME})?"  # of a label
_NAME_ACCEPTED = (
    "[PREFIX/]NAME, the prefix a domain such as example.com, the name 1 to 63 of a-z, A-Z, 0-9, -, _ and ., "
    "a letter or digit at either end"
)
_VALUE_ACCEPTED = "at most 63 of a-z, A-Z, 0-9, -, _ and ., a letter or digit at either end"
_TEXT_ACCEPTED = "a text"


_OURS = OUR_PREFIX.replace(".", r"\.")
_MANAGED_BY = MANAGED_BY.replace(".", r"\.")


def _qualified(part: str, reserved: str) -> str:
    """The pattern of a name with or without a prefix of `part`s. It must not match `reserved`."""
    prefix = rf"(?=[^/]{{1,{LONGEST_PREFIX}}}/){part}(?:\.{part})*/"
    return rf"(?!{reserved})(?:{prefix})?{_NAME}"


KEY = _qualified(_PART, "$")  # of any label
_LABEL = _qualified(_PART, f"{_OURS}|{_MANAGED_BY}$")
_ANNOTATION = _qualified(_PART_OF_ANY_CASE, _OURS)


def parse_label_value(value: object) -> str:
    """The value of a label. It may be empty."""
    text = text_of(value, _VALUE_ACCEPTED)
    if not re.fullmatch(VALUE, text):
        raise not_accepted(f"{shown(text)} is not the value of a label", _VALUE_ACCEPTED)
    return text


def parse_annotation_value(value: object) -> str:
    """The value of an annotation: any text that UTF-8 can encode."""
    text = text_of(value, _TEXT_ACCEPTED)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise not_accepted("a text with half a character is given", _TEXT_ACCEPTED) from error
    return text


LABEL_VALUE = ValueType(parse_label_value, {"type": "string", "pattern": anchored(VALUE)}, "VALUE")
ANNOTATION_VALUE = ValueType(
    parse_annotation_value, {"type": "string", "maxLength": LARGEST_ANNOTATIONS}, "TEXT"
)


def parse_labels(value: object) -> Pairs:
    """Each label with its value. Raises MappingError."""
    return _pairs(value, "label", _LABEL, LABEL_VALUE)


def parse_annotations(value: object) -> Pairs:
    """Each annotation with its value. Raises MappingError."""
    pairs = _pairs(value, "annotation", _ANNOTATION, ANNOTATION_VALUE)
    size = sum(len(name.encode()) + len(text.encode()) for name, text in pairs)
    if size > LARGEST_ANNOTATIONS:
        accepted = f"at most {LARGEST_ANNOTATIONS} bytes of names and values"
        raise not_accepted(f"annotations of {size} bytes are given", accepted)
    return pairs


def _pairs(value: object, noun: str, pattern: str, value_type: ValueType) -> Pairs:
    if not isinstance(value, Mapping):
        accepted = f"a mapping of {noun}s to values, such as {{team: studio}}"
        raise not_accepted(f"{described(value)} is given", accepted)
    return named_values(value, pattern, partial(_refused_name, noun), value_type)


def _refused_name(noun: str, name: str) -> str:
    if name.startswith(OUR_PREFIX):
        return f"the refresher itself sets the {noun}s with the prefix {OUR_PREFIX}; take it out"
    if name == MANAGED_BY:
        return "the refresher itself sets this label; take it out"
    return f"not the name of a {noun}; accepted: {_NAME_ACCEPTED}"


def _schema(pattern: str, value_type: ValueType) -> dict[str, object]:
    names = {"pattern": anchored(pattern)}
    return {"type": "object", "propertyNames": names, "additionalProperties": dict(value_type.schema)}


LABELS = ValueType(parse_labels, _schema(_LABEL, LABEL_VALUE), "", dict)
ANNOTATIONS = ValueType(parse_annotations, _schema(_ANNOTATION, ANNOTATION_VALUE), "", dict)
