"""What an option is. The loader, the flags, their variables and the JSON Schema are all made from options.

A section is a NamedTuple class whose fields are annotated with an `Option` each. `declarations` has them all.
"""

from functools import lru_cache
from typing import Any, NamedTuple

from refresher.config import value_types
from refresher.config.value_types import ValueType


class Option(NamedTuple):
    """One thing a user can set. `key` is its name in the file, `attribute` its name in the settings."""

    doc: str
    value_type: ValueType = value_types.SECTION
    example: Any = None
    # Instead of a value type: the option holds a section. Of several, the one whose first option is given.
    sections: tuple[type, ...] = ()
    named: bool = False  # sections: a mapping of them by name, not empty
    repeated: bool = False  # sections: a list of them, not empty; other options: the flag may be repeated
    # The flag and value of another option in the section: this one is required beside it, else refused.
    only_with: tuple[str, str] | None = None
    inherited: bool = False  # may also come from the section ``defaults``
    flag: str | None = None  # alternative sections may share one
    from_flag: Any = None  # turns the value of a shared flag into this option's
    flag_note: str = ""  # shown only in the help of the flag
    group: str = ""  # of flags, see `flags`
    key: str = ""
    attribute: str = ""
    default: Any = None
    required: bool = False

    def in_file_only(self) -> "Option":
        """The same option for a section without flags."""
        return self._replace(flag=None, flag_note="", group="")

    @property
    def variable(self) -> str:
        """The environment variable beside the flag."""
        return "REFRESHER_" + (self.flag or "")[2:].replace("-", "_").upper()

    @property
    def shown_default(self) -> Any:
        """The default as users would write it."""
        return self.value_type.show(self.default)


@lru_cache
def options_of(section: type) -> dict[str, Option]:
    """The options of a section by key, in the order of their declaration."""
    found: dict[str, Option] = {}
    for attribute, annotation in section.__annotations__.items():
        option: Option = annotation.__metadata__[0]
        key = option.key or attribute
        defaults: dict[str, Any] = section._field_defaults  # type: ignore[attr-defined]  # a NamedTuple's
        found[key] = option._replace(
            key=key,
            attribute=attribute,
            default=defaults.get(attribute),
            required=attribute not in defaults,
        )
    return found


def first_of(section: type) -> Option:
    """The option that distinguishes `section` from its alternatives."""
    return next(iter(options_of(section).values()))


@lru_cache
def by_flag(section: type) -> dict[str, Option]:
    """The options of a section that have a flag, by flag."""
    return {option.flag: option for option in options_of(section).values() if option.flag}


def sections_below(root: type, path: str = "") -> dict[type, str]:
    """Each section that `root` leads to, with its path in the file: ``tokens[].outputs[].``."""
    found: dict[type, str] = {}
    for key, option in options_of(root).items():
        below = f"{path}{key}{'[]' if option.repeated else '.NAME' if option.named else ''}."
        for section in option.sections:
            for each, where in ({section: below} | sections_below(section, below)).items():
                found.setdefault(each, where)
    return found


# The JSON Schema


def json_schema(root: type) -> dict[str, Any]:
    """The schema (draft 2020-12) of a file with the section `root`, for editors and generators.

    It has every rule about single values, except limits of durations written as text. Rules across options
    and about the file system (`rules`) are the loader's.
    """
    schema = _section_schema(root)
    del schema["required"]  # a file may leave the tokens to flags and variables
    if needed := _not_in_defaults(root):
        schema["allOf"] = needed
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of inlive-token-refresher",
        **schema,
    }


def _section_schema(section: type) -> dict[str, Any]:
    options = options_of(section)
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: _property_schema(option) for key, option in options.items()},
    }
    required = [key for key, option in options.items() if option.required and not option.inherited]
    if required:
        schema["required"] = required
    for key, option in options.items():
        if option.only_with is not None:
            schema["if"] = _chosen(section, *option.only_with)
            schema["then"] = {"required": [key]}
            schema["else"] = {"not": {"required": [key]}}
    return schema


def _not_in_defaults(root: type) -> list[dict[str, Any]]:
    """Conditions: each item of a list has its required options, unless ``defaults`` has them."""
    found = []
    for key, option in options_of(root).items():
        sections = option.sections if option.repeated else ()
        for below, needed in (
            (name, each) for section in sections for name, each in options_of(section).items()
        ):
            if needed.required and needed.inherited:
                has_default = {"required": ["defaults"], "properties": {"defaults": {"required": [below]}}}
                wanted = {"properties": {key: {"items": {"required": [below]}}}}
                found.append({"if": has_default, "else": wanted})
    return found


def _chosen(section: type, flag: str, choice: str) -> dict[str, Any]:
    """The condition that the option with this flag is given and holds `choice`."""
    option, value = by_flag(section)[flag], dict[str, Any](const=choice)
    if option.value_type.schema.get("type") == "object":
        value = {"not": {"additionalProperties": {"not": value}}}
    return {"properties": {option.key: value}, "required": [option.key]}


def _property_schema(option: Option) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": option.doc}
    if option.sections:
        parts = [_section_schema(section) for section in option.sections]
        content = parts[0] if len(parts) == 1 else {"oneOf": parts}
        if option.named:
            names = {"propertyNames": value_types.NAME.schema}
            return schema | {"type": "object", "minProperties": 1, **names, "additionalProperties": content}
        return schema | ({"type": "array", "minItems": 1, "items": content} if option.repeated else content)
    schema |= option.value_type.schema
    if not option.required and option.default is not None:
        schema["default"] = option.shown_default
    return schema | {"examples": [option.example]}
