"""Reads the sections of a document into drafts: the valid values, and where each was given."""

from typing import Any, Final

from refresher.config.declarations import SECTIONS, Settings
from refresher.config.options import Option, by_flag, first_of, options_of
from refresher.config.quoting import described, did_you_mean
from refresher.config.source_map import Mapping, Path, Place, Problems
from refresher.config.value_types import MappingError, parse_name, read

INVALID: Final = object()  # stands for a value whose problem is reported already

_KEY_ITSELF = {"key", "apikey", "appkey", "applicationkey", "secretkey"}


class Draft:
    """A section under construction. `values` go by attribute; missing ones take their default.

    `path`: where the section is in the file; None if flags or variables made it. `places`: the flags and
    variables that gave values. Values without a place are from the file, or made up if there is no path.
    """

    __slots__ = ("path", "places", "section", "values")

    def __init__(self, section: type, path: Path | None = None) -> None:
        self.section = section
        self.path = path
        self.values: dict[str, Any] = {}
        self.places: dict[str, Place] = {}

    def get(self, key: str) -> Any:
        """The value of option `key`, or its default. INVALID if there is neither."""
        option = options_of(self.section)[key]
        return self.values.get(option.attribute, INVALID if option.required else option.default)

    def set(self, attribute: str, value: Any, place: str) -> None:
        """Set a value that a flag or variable gives."""
        self.values[attribute] = value
        self.places[attribute] = place

    def place(self, key: str) -> Place:
        """Where option `key` was given, or could be given."""
        option = options_of(self.section)[key]
        if option.attribute in self.places:
            return self.places[option.attribute]
        return option.flag or key if self.path is None else (*self.path, key)

    def origin(self, key: str) -> Place | None:
        """Where the value of option `key` comes from; None for a default."""
        attribute = options_of(self.section)[key].attribute
        given = attribute in self.places or (attribute in self.values and self.path is not None)
        return self.place(key) if given else None

    def drafts(self, key: str) -> "list[Draft]":
        """The sections listed under `key`; none if that list is invalid."""
        found = self.get(key)
        return found if isinstance(found, list) else []

    def named(self, key: str) -> "dict[str, Draft]":
        """The sections by name under `key`; none if they are invalid."""
        found = self.get(key)
        return found if isinstance(found, dict) else {}

    def overlay(self, over: "Draft") -> None:
        """Replace values by those of `over`, where it has any."""
        self.values |= over.values
        self.places |= over.places

    def underlay(self, defaults: "Draft") -> None:
        """Take the values of `defaults` where this draft has none."""
        for key, option in options_of(defaults.section).items():
            if option.attribute in defaults.values and option.attribute not in self.values:
                self.values[option.attribute] = defaults.values[option.attribute]
                self.places[option.attribute] = defaults.place(key)

    def built(self) -> Any:
        """The settings. Only for a draft without problems."""
        return self.section(**{attribute: _built(value) for attribute, value in self.values.items()})


def _built(value: Any) -> Any:
    if isinstance(value, Draft):
        return value.built()
    if isinstance(value, dict):
        return {name: draft.built() for name, draft in value.items()}
    return tuple(draft.built() for draft in value) if isinstance(value, list) else value


def read_section(
    sections: tuple[type, ...], node: object, path: Path, base: str, problems: Problems
) -> Draft:
    """The draft of one mapping. Of several `sections` it is the one whose first option is given. Relative
    paths start at the directory `base`."""
    if not isinstance(node, Mapping):
        problems.add(path, f"{described(node)} is given; accepted: a mapping with {_names(sections)}")
        return _invalid(sections[0], path)
    given = [section for section in sections if len(sections) == 1 or first_of(section).key in node]
    section = (
        given[0]
        if given
        else max(sections, key=lambda section: len(options_of(section).keys() & node.keys()))
    )
    draft, options, readable = Draft(section, path), options_of(section), options_of(section)
    if len(given) != 1:  # check all values, whichever section they belong to
        problems.add(path, _undecided(sections, given, section))
        draft.values[first_of(section).attribute] = INVALID
        for other in sections:
            readable = options_of(other) | readable
    for key, problem in node.repetitions():
        problems.add((*path, key), problem)
    for key, value in node.items():
        if key not in readable:
            problems.add((*path, key), _unknown(key, section, readable, sections))
            continue
        read_value = _value(readable[key], value, (*path, key), base, problems)
        if key in options:
            draft.values[options[key].attribute] = read_value
    return draft


def find_missing(draft: Draft, problems: Problems) -> None:
    """Report required values that neither file nor flags nor variables give, in `draft` and below."""
    for key, option in options_of(draft.section).items():
        if option.required and option.attribute not in draft.values and draft.section is not Settings:
            draft.values[option.attribute] = INVALID
            problems.add(draft.place(key), f"is missing; write {example_of(option)}")
    for value in draft.values.values():
        for below in _sections_in(value):
            find_missing(below, problems)


def _sections_in(value: object) -> list[Draft]:
    found = value if isinstance(value, list) else value.values() if isinstance(value, dict) else [value]
    return [below for below in found if isinstance(below, Draft)]


def _invalid(section: type, path: Path) -> Draft:
    draft = Draft(section, path)
    draft.values = dict.fromkeys((option.attribute for option in options_of(section).values()), INVALID)
    return draft


def _value(option: Option, node: object, path: Path, base: str, problems: Problems) -> Any:
    if option.sections:
        read = _read_list if option.repeated else _read_named if option.named else read_section
        return read(option.sections, node, path, base, problems)
    if node is None:
        remedy = "" if option.required else ", or take the line out"
        problems.add(path, f"nothing is given; write {example_of(option)}{remedy}")
        return INVALID
    return parsed(option, node, path, base, problems)


def _read_list(sections: tuple[type, ...], node: object, path: Path, base: str, problems: Problems) -> Any:
    if not isinstance(node, list) or not node:
        given = "an empty list" if isinstance(node, list) else described(node)
        accepted = f"a list, each item a mapping with {_names(sections)}"
        problems.add(path, f"{given} is given; accepted: {accepted}")
        return INVALID
    return [read_section(sections, item, (*path, index), base, problems) for index, item in enumerate(node)]


def _read_named(sections: tuple[type, ...], node: object, path: Path, base: str, problems: Problems) -> Any:
    if not isinstance(node, Mapping) or not node:
        given = "an empty mapping" if isinstance(node, Mapping) else described(node)
        accepted = f"a mapping of names to mappings with {_names(sections)}"
        problems.add(path, f"{given} is given; accepted: {accepted}")
        return INVALID
    for name, problem in node.repetitions():
        problems.add((*path, name), problem)
    found = {}
    for name, item in node.items():
        try:
            parse_name(name)
        except ValueError as error:
            problems.add((*path, name), str(error))
        found[name] = read_section(sections, item, (*path, name), base, problems)
    return found


def parsed(option: Option, given: object, place: Place, base: str, problems: Problems) -> Any:
    """The value of an option without sections. INVALID if it has a problem, which is reported."""
    try:
        value = read(option.value_type, given)
    except MappingError as error:
        for path, problem in error.problems:
            problems.add((*place, *path) if isinstance(place, tuple) else place, problem)
        return INVALID
    except ValueError as error:
        problems.add(place, str(error))
        return INVALID
    return absolute(base, value) if option.value_type.is_path else value


def absolute(base: str, path: str) -> str:
    """`path` relative to `base`, without ``//`` and ``/./``. A ``..`` stays: it may follow a symlink."""
    parts = (path if path.startswith("/") else f"{base}/{path}").split("/")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


# Messages


def example_of(option: Option) -> str:
    """An accepted value, as a line of YAML: ``a value such as lifetime: 1h``."""
    return f"a value such as {option.key}: {_example(option)}"


def _example(option: Option) -> str:
    if option.sections:
        first = first_of(option.sections[0])
        item = f"{{{first.key}: {_example(first)}}}"
        return f"[{item}]" if option.repeated else item
    if isinstance(option.example, dict):
        return "{" + ", ".join(f"{key}: {value}" for key, value in option.example.items()) + "}"
    if isinstance(option.example, list):
        return f"[{', '.join(option.example)}]"
    text = repr(option.example)[1:-1]
    return text if text[0] in "/" or text[0].isalpha() else f'"{text}"'


def _names(sections: tuple[type, ...]) -> str:
    return "; or with ".join(", ".join(options_of(section)) for section in sections)


def _undecided(sections: tuple[type, ...], given: list[type], likely: type) -> str:
    if given:
        keys = " and ".join(first_of(section).key for section in given)
        return f"both {keys} are given; accepted: an item for each"
    keys = " nor ".join(first_of(section).key for section in sections)
    return f"neither {keys} is given; write {example_of(first_of(likely))}"


def _unknown(key: str, section: type, options: dict[str, Option], sections: tuple[type, ...]) -> str:
    accepted = f"accepted: {', '.join(options)}"
    if "".join(filter(str.isalnum, key.lower())) in _KEY_ITSELF:
        return f"no option; the application key is read from the file that key_file names; {accepted}"
    for other in sections:
        if key in options_of(other):
            same = by_flag(section).get(options_of(other)[key].flag or "")
            remedy = f"; write {example_of(same)}" if same else ""
            return f"no option beside {next(iter(options))}{remedy}; {accepted}"
    for other, path in SECTIONS.items():
        if key in options_of(other):
            return f"no option here; it belongs at {path}{key}; {accepted}"
    return f"no option{did_you_mean(key, options) or ';'} {accepted}"
