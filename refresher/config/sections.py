"""A document's mappings, read by the declarations into drafts: what is right, and where it was given."""

from typing import Any, Final

from refresher.config.declarations import (
    FileOutputSettings,
    IssuerSettings,
    Option,
    Settings,
    TokenSettings,
    options_of,
)
from refresher.config.findings import Findings, Place
from refresher.config.located import Mapping, Path
from refresher.config.wording import described, did_you_mean

MISTAKEN: Final = object()  # stands for a value whose mistake is reported already

_KEY_ITSELF = {"key", "apikey", "appkey", "applicationkey", "secretkey"}


class Draft:
    """A section while it is read. ``values`` go by attribute; absent ones take their default when built."""

    __slots__ = ("path", "places", "section", "values")

    def __init__(self, section: type, path: Path = (), places: dict[str, Place] | None = None) -> None:
        self.section = section
        self.path = path
        self.values: dict[str, Any] = {}
        self.places: dict[str, Place] = places or {}  # of what was not given in the file

    def get(self, key: str) -> Any:
        """The value of option `key` or its default; MISTAKEN when there is no right one."""
        option = options_of(self.section)[key]
        return self.values.get(option.attribute, MISTAKEN if option.required else option.default)

    def place(self, key: str) -> Place:
        """Where option `key` was given, or would be."""
        return self.places.get(options_of(self.section)[key].attribute, (*self.path, key))

    def drafts(self, key: str) -> "list[Draft]":
        """The sections listed under `key`; none when that list is mistaken."""
        found = self.get(key)
        return found if isinstance(found, list) else []

    def overlay(self, over: "Draft") -> None:
        """Let what `over` gives take the place of what is here."""
        self.values |= over.values
        self.places |= over.places

    def built(self) -> Any:
        """The settings. Only for a draft without mistakes."""
        return self.section(**{attribute: _built(value) for attribute, value in self.values.items()})


def _built(value: Any) -> Any:
    if isinstance(value, Draft):
        return value.built()
    return tuple(draft.built() for draft in value) if isinstance(value, list) else value


def read_section(section: type, node: object, path: Path, base: str, findings: Findings) -> Draft:
    """The draft of one mapping. Relative paths in it are meant from the directory `base`."""
    draft = Draft(section, path)
    options = options_of(section)
    if not isinstance(node, Mapping):
        findings.add(path, f"{described(node)} is given; accepted: a mapping with {', '.join(options)}")
        draft.values = dict.fromkeys((option.attribute for option in options.values()), MISTAKEN)
        return draft
    for key, line in node.duplicates:
        first = f" first in line {line}" if line is not None else ""
        findings.add((*path, key), f"given twice,{first or ' in the same mapping'}; keep one")
    for key, value in node.items():
        option = options.get(key)
        if option is None:
            findings.add((*path, key), _unknown(key, options))
        else:
            draft.values[option.attribute] = _value(option, value, (*path, key), base, findings)
    for key, option in options.items():
        if option.required and option.attribute not in draft.values and section is not Settings:
            draft.values[option.attribute] = MISTAKEN
            findings.add((*path, key), _missing(option))
    return draft


def _value(option: Option, node: object, path: Path, base: str, findings: Findings) -> Any:
    if option.section is not None:
        read = _read_list if option.repeated else read_section
        return read(option.section, node, path, base, findings)
    if node is None:
        remedy = "" if option.required else ", or take the line out"
        findings.add(path, f"nothing is given; write {_example(option)}{remedy}")
        return MISTAKEN
    return parsed(option, node, path, base, findings)


def _read_list(section: type, node: object, path: Path, base: str, findings: Findings) -> Any:
    names = ", ".join(options_of(section))
    if not isinstance(node, list) or not node:
        given = "an empty list" if isinstance(node, list) else described(node)
        findings.add(path, f"{given} is given; accepted: a list, each item a mapping with {names}")
        return MISTAKEN
    return [read_section(section, item, (*path, index), base, findings) for index, item in enumerate(node)]


def parsed(option: Option, given: object, place: Place, base: str, findings: Findings) -> Any:
    """The value of a plain option, or MISTAKEN after reporting why."""
    try:
        value = option.kind.parse(given)
    except ValueError as error:
        findings.add(place, str(error))
        return MISTAKEN
    return absolute(base, value) if option.kind.is_path else value


def absolute(base: str, path: str) -> str:
    """`path` from `base` on, without ``//`` and ``/./``. A ``..`` stays: it may follow a symlink."""
    parts = (path if path.startswith("/") else f"{base}/{path}").split("/")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def _example(option: Option) -> str:
    text = repr(option.example)[1:-1]
    return f"a value such as {option.key}: " + (text if text[0] in "/" or text[0].isalpha() else f'"{text}"')


def _missing(option: Option) -> str:
    if option.section is FileOutputSettings:
        return "a token needs an output; add one such as: outputs: [{file: /var/run/inlive/access-token}]"
    return f"is missing; write {_example(option)}"


def _unknown(key: str, options: dict[str, Option]) -> str:
    accepted = f"accepted: {', '.join(options)}"
    if "".join(filter(str.isalnum, key.lower())) in _KEY_ITSELF:
        return f"no option; the application key is read from the file that key_file names; {accepted}"
    for name, section in (("", Settings), ("issuer.", IssuerSettings), ("tokens[].", TokenSettings)):
        if key in options_of(section):
            return f"no option here; it belongs at {name}{key}; {accepted}"
    if key in options_of(FileOutputSettings):
        return f"no option here; it belongs at tokens[].outputs[].{key}; {accepted}"
    return f"no option{did_you_mean(key, options) or ';'} {accepted}"
