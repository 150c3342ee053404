"""The JSON Schema of the configuration file, made from the same declarations as the loader.

It says everything about single values but limits of durations that are written as text; rules between
options (`checks`) and about the file system (`targets`) are the loader's.
"""

from typing import Any

from refresher.config.declarations import FileOutputSettings, SecretOutputSettings, Settings
from refresher.config.options import Option, options_of


def json_schema() -> dict[str, Any]:
    """The schema, draft 2020-12, for editors and for who generates configurations."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of inlive-token-refresher",
        **_section(Settings),
    }


def _section(section: type) -> dict[str, Any]:
    options = options_of(section)
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: _property(option) for key, option in options.items()},
    }
    # Not the tokens themselves: a file may leave them to flags and variables.
    required = [key for key, option in options.items() if option.required and section is not Settings]
    if required:
        schema["required"] = required
    if section in _HAS_FORMAT_TEMPLATE:
        # The text and its format are there together or not at all.
        schema["if"] = _HAS_FORMAT_TEMPLATE[section]
        schema["then"] = {"required": ["template"]}
        schema["else"] = {"not": {"required": ["template"]}}
    return schema


def _sections(sections: tuple[type, ...]) -> dict[str, Any]:
    if len(sections) == 1:
        return _section(sections[0])
    return {"oneOf": [_section(section) for section in sections]}


def _property(option: Option) -> dict[str, Any]:
    described: dict[str, Any] = {"description": option.doc}
    if option.sections and option.repeated:
        return described | {"type": "array", "minItems": 1, "items": _sections(option.sections)}
    if option.sections:
        return described | _sections(option.sections)
    described |= option.kind.schema
    if not option.required and option.default is not None:
        described["default"] = option.shown_default
    return described | {"examples": [option.example]}


_IS_TEMPLATE = {"const": "template"}
_HAS_FORMAT_TEMPLATE: dict[type, dict[str, Any]] = {
    FileOutputSettings: {"properties": {"format": _IS_TEMPLATE}, "required": ["format"]},
    SecretOutputSettings: {
        "properties": {"data": {"not": {"additionalProperties": {"not": _IS_TEMPLATE}}}},
        "required": ["data"],
    },
}
