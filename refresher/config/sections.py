"""A document's mappings, read by the declarations into drafts: what is right, and where it was given."""

from typing import Any, Final

from refresher.config.declarations import (
    FileOutputSettings,
    IssuerSettings,
    LeaderElectionSettings,
    SecretOutputSettings,
    Settings,
    TokenSettings,
)
from refresher.config.findings import Findings, Place
from refresher.config.kinds import MisfitsError, read
from refresher.config.located import Mapping, Path
from refresher.config.options import Option, first_of, options_of
from refresher.config.serving import ServeSettings
from refresher.config.wording import described, did_you_mean

MISTAKEN: Final = object()  # stands for a value whose mistake is reported already

_KEY_ITSELF = {"key", "apikey", "appkey", "applicationkey", "secretkey"}
_ROOMS = (
    ("", Settings),
    ("issuer.", IssuerSettings),
    ("tokens[].", TokenSettings),
    ("tokens[].outputs[].", FileOutputSettings),
    ("tokens[].outputs[].", SecretOutputSettings),
    ("leader_election.", LeaderElectionSettings),
    ("serve.", ServeSettings),
)


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


def read_section(
    sections: tuple[type, ...], node: object, path: Path, base: str, findings: Findings
) -> Draft:
    """The draft of one mapping, of that one of `sections` whose first option is in it. Relative paths in it
    are meant from the directory `base`."""
    if not isinstance(node, Mapping):
        findings.add(path, f"{described(node)} is given; accepted: a mapping with {_names(sections)}")
        return _all_mistaken(sections[0], path)
    given = [section for section in sections if len(sections) == 1 or first_of(section).key in node]
    section = (
        given[0] if given else max(sections, key=lambda each: len(options_of(each).keys() & node.keys()))
    )
    draft, options, readable = Draft(section, path), options_of(section), options_of(section)
    if len(given) != 1:  # what is in there is judged, whichever it belongs to
        findings.add(path, _undecided(sections, given, section))
        draft.values[first_of(section).attribute] = MISTAKEN
        for other in sections:
            readable = options_of(other) | readable
    for key, problem in node.repetitions():
        findings.add((*path, key), problem)
    for key, value in node.items():
        if key not in readable:
            findings.add((*path, key), _unknown(key, readable, sections))
            continue
        read = _value(readable[key], value, (*path, key), base, findings)
        if key in options:
            draft.values[options[key].attribute] = read
    return draft


def find_missing(draft: Draft, findings: Findings) -> None:
    """Report what is required and nobody has given, file nor flag nor variable, in `draft` and below."""
    for key, option in options_of(draft.section).items():
        if option.required and option.attribute not in draft.values and draft.section is not Settings:
            draft.values[option.attribute] = MISTAKEN
            findings.add(draft.place(key), _missing(option))
    for value in draft.values.values():
        for below in value if isinstance(value, list) else [value]:
            if isinstance(below, Draft):
                find_missing(below, findings)


def _all_mistaken(section: type, path: Path) -> Draft:
    draft = Draft(section, path)
    draft.values = dict.fromkeys((option.attribute for option in options_of(section).values()), MISTAKEN)
    return draft


def _value(option: Option, node: object, path: Path, base: str, findings: Findings) -> Any:
    if option.sections:
        read = _read_list if option.repeated else read_section
        return read(option.sections, node, path, base, findings)
    if node is None:
        remedy = "" if option.required else ", or take the line out"
        findings.add(path, f"nothing is given; write {_example(option)}{remedy}")
        return MISTAKEN
    return parsed(option, node, path, base, findings)


def _read_list(sections: tuple[type, ...], node: object, path: Path, base: str, findings: Findings) -> Any:
    if not isinstance(node, list) or not node:
        given = "an empty list" if isinstance(node, list) else described(node)
        accepted = f"a list, each item a mapping with {_names(sections)}"
        findings.add(path, f"{given} is given; accepted: {accepted}")
        return MISTAKEN
    return [read_section(sections, item, (*path, index), base, findings) for index, item in enumerate(node)]


def parsed(option: Option, given: object, place: Place, base: str, findings: Findings) -> Any:
    """The value of a plain option, or MISTAKEN after reporting why."""
    try:
        value = read(option.kind, given)
    except MisfitsError as misfits:
        for key, problem in misfits.problems:
            findings.add((*place, key) if isinstance(place, tuple) else place, problem)
        return MISTAKEN
    except ValueError as error:
        findings.add(place, str(error))
        return MISTAKEN
    return absolute(base, value) if option.kind.is_path else value


def absolute(base: str, path: str) -> str:
    """`path` from `base` on, without ``//`` and ``/./``. A ``..`` stays: it may follow a symlink."""
    parts = (path if path.startswith("/") else f"{base}/{path}").split("/")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


# Words


def _names(sections: tuple[type, ...]) -> str:
    return "; or with ".join(", ".join(options_of(section)) for section in sections)


def _example(option: Option) -> str:
    if isinstance(option.example, dict):
        text = "{" + ", ".join(f"{key}: {value}" for key, value in option.example.items()) + "}"
    else:
        text = repr(option.example)[1:-1]
        text = text if text[0] in "/" or text[0].isalpha() else f'"{text}"'
    return f"a value such as {option.key}: {text}"


def _missing(option: Option) -> str:
    if FileOutputSettings in option.sections:
        return "a token needs an output; add one such as: outputs: [{file: /var/run/inlive/access-token}]"
    return f"is missing; write {_example(option)}"


def _undecided(sections: tuple[type, ...], given: list[type], likely: type) -> str:
    if given:
        return (
            f"both {' and '.join(first_of(one).key for one in given)} are given; accepted: an item for each"
        )
    keys = " nor ".join(first_of(one).key for one in sections)
    return f"neither {keys} is given; write {_example(first_of(likely))}"


def _unknown(key: str, options: dict[str, Option], sections: tuple[type, ...]) -> str:
    accepted = f"accepted: {', '.join(options)}"
    if "".join(filter(str.isalnum, key.lower())) in _KEY_ITSELF:
        return f"no option; the application key is read from the file that key_file names; {accepted}"
    for other in sections:
        if key in options_of(other):
            remedy = "; write data: {access-token: FORMAT}" if key == "format" else ""
            return f"no option beside {next(iter(options))}{remedy}; {accepted}"
    for name, section in _ROOMS:
        if key in options_of(section):
            return f"no option here; it belongs at {name}{key}; {accepted}"
    return f"no option{did_you_mean(key, options) or ';'} {accepted}"
