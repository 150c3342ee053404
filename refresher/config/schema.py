"""The JSON Schema of the configuration file, made from the same declarations as the loader.

It says everything about single values but limits of durations that are written as text; rules between
options (`checks`) and about the file system (`targets`) are the loader's.
"""

from typing import Any

from refresher.config.declarations import FileOutputSettings, Option, Settings, options_of


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
    if section is FileOutputSettings:
        schema |= _TEMPLATE_WITH_ITS_FORMAT
    return schema


def _property(option: Option) -> dict[str, Any]:
    described: dict[str, Any] = {"description": option.doc}
    if option.section is not None and option.repeated:
        return described | {"type": "array", "minItems": 1, "items": _section(option.section)}
    if option.section is not None:
        return described | _section(option.section)
    described |= option.kind.schema
    if not option.required and option.default is not None:
        described["default"] = option.shown_default
    return described | {"examples": [option.example]}


_TEMPLATE_WITH_ITS_FORMAT = {
    "if": {"properties": {"format": {"const": "template"}}, "required": ["format"]},
    "then": {"required": ["template"]},
    "else": {"not": {"required": ["template"]}},
}
